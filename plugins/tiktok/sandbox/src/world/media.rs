//! Files: uploaded, received, and the pictures included in the sandbox (TikTok API reference, Upload an image; Download
//! an image or a video from a message).

use std::collections::{HashMap, VecDeque};

use bytes::Bytes;
use hmac::{Hmac, KeyInit as _, Mac as _};
use serde_json::{Value, json};
use sha2::Sha256;

use super::World;
use crate::api::Call;
use crate::clock::{DAY_MS, HOUR_MS, Timestamp};
use crate::limits;
use crate::refusal::Refusal;

const FILE_MS: i64 = 30 * DAY_MS;
const DOWNLOAD_MS: i64 = 24 * HOUR_MS;

/// A picture or video included in the sandbox.
#[derive(Debug, Clone, Copy)]
pub struct Picture {
    /// Its name in a URL.
    pub name: &'static str,
    /// Its bytes.
    pub bytes: &'static [u8],
    /// Its type.
    pub mime: &'static str,
}

macro_rules! pictures {
    ($($name:literal $file:literal $mime:literal,)*) => {
        /// Every picture included in the sandbox.
        pub const PICTURES: &[Picture] = &[$(Picture {
            name: $name,
            bytes: include_bytes!(concat!("../pictures/", $file)),
            mime: $mime,
        },)*];
    };
}

pictures! {
    "photo" "photo.jpg" "image/jpeg",
    "video" "video.mp4" "video/mp4",
    "sticker-wave" "sticker-wave.png" "image/png",
    "sticker-heart" "sticker-heart.png" "image/png",
    "emoji-party" "emoji-party.png" "image/png",
    "avatar-1" "avatar-1.png" "image/png",
    "avatar-2" "avatar-2.png" "image/png",
    "avatar-3" "avatar-3.png" "image/png",
    "avatar-4" "avatar-4.png" "image/png",
}

/// The picture of this name.
pub fn picture(name: &str) -> Option<&'static Picture> {
    PICTURES.iter().find(|picture| picture.name == name)
}

/// The path of a picture on the sandbox's origin.
pub(super) fn picture_path(name: &str) -> String {
    format!("/cdn/{name}")
}

/// The whole address of a picture; with an expiry it becomes invalid then, as TikTok's do after `x-expires`.
pub(super) fn picture_url(origin: &str, name: &str, expires: Option<Timestamp>) -> String {
    match expires {
        Some(expires) => format!("{origin}/cdn/{name}?x-expires={}&x-signature=sandbox", expires.secs()),
        None => format!("{origin}/cdn/{name}"),
    }
}

/// The type of a file by its first bytes, if TikTok accepts it as an image.
pub fn image_type(bytes: &[u8]) -> Option<&'static str> {
    if bytes.starts_with(&[0xFF, 0xD8, 0xFF]) {
        Some("image/jpeg")
    } else if bytes.starts_with(b"\x89PNG\r\n\x1a\n") {
        Some("image/png")
    } else {
        None
    }
}

/// One file.
#[derive(Debug, Clone)]
pub struct File {
    /// Its bytes.
    pub bytes: Bytes,
    /// Its type.
    pub mime: &'static str,
    account: String,
    expires: Timestamp,
}

/// Every file; the oldest is deleted when the limit is reached.
#[derive(Debug, Default)]
pub struct Files {
    files: HashMap<String, File>,
    order: VecDeque<String>,
    bytes: usize,
}

impl Files {
    fn add(&mut self, id: String, file: File) {
        self.bytes += file.bytes.len();
        self.order.push_back(id.clone());
        self.files.insert(id, file);
        while (self.bytes > limits::MEDIA_BYTES || self.order.len() > limits::MEDIA_FILES) && self.order.len() > 1 {
            if let Some(file) = self.order.pop_front().and_then(|oldest| self.files.remove(&oldest)) {
                self.bytes -= file.bytes.len();
            }
        }
    }
}

/// A file in an upload.
#[derive(Debug)]
pub struct Upload {
    /// The declared type of the part.
    pub mime: String,
    /// The bytes.
    pub bytes: Bytes,
}

impl World {
    /// Stores an uploaded image.
    ///
    /// # Errors
    /// TikTok's refusals: not allowed, not `IMAGE`, empty, over 3 MB, neither JPG nor PNG.
    pub fn upload(&mut self, call: &mut Call<'_>, file: Option<Upload>) -> Result<Value, Refusal> {
        let caller = self.admit_messaging(call, &["message.list.send"])?;
        if call.params.text("media_type")? != "IMAGE" {
            return Err(Refusal::invalid("media_type"));
        }
        let file = file.ok_or_else(|| Refusal::missing("file"))?;
        if file.bytes.is_empty() {
            return Err(Refusal::file_empty());
        }
        if file.bytes.len() > limits::IMAGE_BYTES {
            return Err(Refusal::file_too_large());
        }
        let mime = image_type(&file.bytes)
            .filter(|mime| {
                let declared = file.mime.as_str();
                *mime == declared || (*mime == "image/jpeg" && declared == "image/jpg")
            })
            .ok_or_else(Refusal::file_type)?;
        let id = self.keep_file(&caller.account, file.bytes, mime, call.now);
        Ok(json!({"media_id": id}))
    }

    pub(super) fn keep_file(&mut self, account: &str, bytes: Bytes, mime: &'static str, now: Timestamp) -> String {
        let id = self.mint.media_id();
        let expires = now.plus_ms(FILE_MS);
        self.files.add(
            id.clone(),
            File {
                bytes,
                mime,
                account: account.to_owned(),
                expires,
            },
        );
        id
    }

    /// Whether the account may still send this file.
    pub(super) fn has_file(&self, account: &str, id: &str, now: Timestamp) -> bool {
        self.files
            .files
            .get(id)
            .is_some_and(|file| file.account == account && file.expires > now && file.mime.starts_with("image/"))
    }

    pub(crate) fn download(&mut self, call: &mut Call<'_>) -> Result<Value, Refusal> {
        let caller = self.admit_messaging(call, &["message.list.read"])?;
        let index = self.conversation_of(call, &caller)?;
        let message = call.params.text("message_id")?;
        let media = call.params.text("media_id")?;
        let kind = call.params.text("media_type")?;
        if !matches!(kind, "IMAGE" | "VIDEO") {
            return Err(Refusal::invalid("media_type"));
        }
        let content = &self.chats[index]
            .message(message)
            .ok_or_else(|| Refusal::not_exist("The message"))?
            .content;
        if content.media() != Some(media) || !self.files.files.contains_key(media) {
            return Err(Refusal::not_exist("The media"));
        }
        if content.rest_type() != kind {
            return Err(Refusal::invalid("media_type"));
        }
        let expires = call.now.plus_ms(DOWNLOAD_MS).secs();
        let signature = self.sign_download(media, expires);
        Ok(json!({
            "download_url": format!("{}/media/{media}?x-expires={expires}&x-signature={signature}", self.origin),
        }))
    }

    fn sign_download(&self, media: &str, expires: i64) -> String {
        let mut mac = Hmac::<Sha256>::new_from_slice(&self.seed.to_be_bytes()).expect("HMAC takes a key of any length");
        mac.update(format!("{media}\n{expires}").as_bytes());
        hex::encode(&mac.finalize().into_bytes()[..16])
    }

    /// The bytes behind a download URL; `None` if it is invalid or expired, or `x-user` is not a valid token of the
    /// account that owns the conversation.
    pub fn fetch(
        &self,
        media: &str,
        expires: i64,
        signature: &str,
        user: Option<&str>,
        now: Timestamp,
    ) -> Option<File> {
        let account = self.account_of_token(user?, now)?;
        let file = self.files.files.get(media)?;
        let allowed =
            file.account == account && now.secs() < expires && signature == self.sign_download(media, expires);
        allowed.then(|| file.clone())
    }

    /// The bytes of a file for the phone page.
    pub fn inspect_media(&self, media: &str) -> Option<File> {
        self.files.files.get(media).cloned()
    }

    /// The path of a person's avatar: one of a few, always the same for a name.
    pub(super) fn avatar_path(&self, username: &str) -> String {
        picture_path(avatar(username))
    }

    /// The temporary address of a person's avatar.
    pub(super) fn avatar_url(&self, username: &str, now: Timestamp) -> String {
        picture_url(&self.origin, avatar(username), Some(now.plus_ms(DAY_MS)))
    }
}

fn avatar(username: &str) -> &'static str {
    match username {
        "acme_store" => "avatar-1",
        "jane_doe" => "avatar-2",
        "kenji" => "avatar-3",
        "lena" => "avatar-4",
        other => ["avatar-1", "avatar-2", "avatar-3", "avatar-4"][other.bytes().map(usize::from).sum::<usize>() % 4],
    }
}
