//! Accounts that an app may be connected to, and people who write to them.

use std::cmp::Reverse;
use std::collections::{BTreeSet, HashMap, VecDeque};

use serde::Deserialize;
use serde_json::{Value, json};

use super::apps::{App, AppOrder};
use super::automatic::Automatic;
use super::chat::Chat;
use super::{ControlError, World};
use crate::clock::Timestamp;
use crate::{limits, region};

/// The default app's key.
pub const DEFAULT_CLIENT_KEY: &str = "7000000000000000001";

/// The scopes for which the default app was approved.
pub const DEFAULT_SCOPES: [&str; 12] = [
    "user.info.basic",
    "user.info.username",
    "user.info.profile",
    "user.info.stats",
    "user.insights",
    "user.account.type",
    "message.list.read",
    "message.list.send",
    "message.list.manage",
    "video.list",
    "comment.list",
    "comment.list.manage",
];

/// A request to create or replace an account.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AccountOrder {
    /// The handle, without `@`.
    pub username: String,
    /// The display name; default: the handle.
    pub display_name: Option<String>,
    /// Two capital letters.
    pub country: String,
    /// Whether it is a Business Account.
    #[serde(default = "yes")]
    pub business: bool,
    /// Whether it accepts messages from everyone; otherwise requests wait until they are accepted in the app.
    #[serde(default = "yes")]
    pub dm_everyone: bool,
    /// The owner's age, for Comment-to-Message.
    #[serde(default = "adult")]
    pub age: u8,
}

/// A request to create or replace a person.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PersonOrder {
    /// The handle, without `@`.
    pub username: String,
    /// The display name; default: the handle.
    pub display_name: Option<String>,
    /// Two capital letters.
    pub country: String,
    /// Whether TikTok's risk control withholds images to this person.
    #[serde(default)]
    pub flagged: bool,
    /// Whether the person follows the businesses they write to.
    #[serde(default)]
    pub follower: bool,
    /// Age, for Comment-to-Message.
    #[serde(default = "adult")]
    pub age: u8,
}

fn yes() -> bool {
    true
}

fn adult() -> u8 {
    30
}

/// A TikTok account that a business or a person owns.
#[derive(Debug)]
pub struct Account {
    pub(super) username: String,
    pub(super) display_name: String,
    pub(super) country: String,
    pub(super) business: bool,
    pub(super) dm_everyone: bool,
    pub(super) age: u8,
    pub(super) posts: Vec<String>,
    pub(super) automatic: Automatic,
    pub(super) comment_to_message: bool,
    pub(super) comments: VecDeque<Comment>,
    pub(super) chats: HashMap<String, usize>,
    /// Its chats, the one with the newest event first.
    pub(super) recent: BTreeSet<(Reverse<Timestamp>, usize)>,
}

impl Account {
    /// Whether TikTok allows an app to handle its messages.
    pub(super) fn may_message(&self) -> bool {
        self.business && !region::is_restricted(&self.country)
    }
}

/// A comment that showed interest, which the business may answer once by message.
#[derive(Debug, Clone)]
pub(super) struct Comment {
    pub(super) id: String,
    pub(super) person: String,
    pub(super) at: Timestamp,
    pub(super) first_level: bool,
    pub(super) answered: bool,
}

/// A person with a phone.
#[derive(Debug, Clone)]
pub struct Person {
    pub(super) username: String,
    pub(super) display_name: String,
    pub(super) country: String,
    pub(super) flagged: bool,
    pub(super) follower: bool,
    pub(super) age: u8,
    pub(super) unique_identifier: String,
}

impl World {
    pub(super) fn populate(&mut self, secret: String, redirect: Option<String>, now: Timestamp) {
        self.apps.insert(
            DEFAULT_CLIENT_KEY.to_owned(),
            App::new(
                AppOrder {
                    client_key: DEFAULT_CLIENT_KEY.to_owned(),
                    client_secret: secret,
                    name: Some("Weir".to_owned()),
                    redirect_uris: redirect.into_iter().collect(),
                    scopes: DEFAULT_SCOPES.map(str::to_owned).to_vec(),
                    qps: Some(limits::QUERIES_PER_SECOND),
                },
                now,
            ),
        );
        for (username, display_name, country, business) in [
            ("acme_store", "Acme Store", "ID", true),
            ("just_me", "Just Me", "ID", false),
            ("berlin_laden", "Berliner Laden", "DE", true),
        ] {
            self.insert_account(AccountOrder {
                username: username.to_owned(),
                display_name: Some(display_name.to_owned()),
                country: country.to_owned(),
                business,
                dm_everyone: true,
                age: adult(),
            });
        }
        for (username, display_name, country, follower) in [
            ("jane_doe", "Jane Doe", "ID", true),
            ("kenji", "Kenji Sato", "JP", false),
            ("lena", "Lena Brandt", "DE", false),
        ] {
            self.insert_person(PersonOrder {
                username: username.to_owned(),
                display_name: Some(display_name.to_owned()),
                country: country.to_owned(),
                flagged: false,
                follower,
                age: adult(),
            });
        }
    }

    /// Creates an account, or changes one and keeps its chats.
    ///
    /// # Errors
    /// An invalid name or country, or too many accounts.
    pub fn put_account(&mut self, order: AccountOrder) -> Result<Value, ControlError> {
        check_name(&order.username, order.display_name.as_deref(), &order.country)?;
        if self.people.contains_key(&order.username) {
            return Err(ControlError::Conflict(format!("{} is a person", order.username)));
        }
        if !self.accounts.contains_key(&order.username) && self.accounts.len() >= limits::ACCOUNTS {
            return Err(full("accounts", limits::ACCOUNTS));
        }
        let username = order.username.clone();
        self.insert_account(order);
        self.revision += 1;
        Ok(self
            .accounts
            .get(&username)
            .map(|account| self.show_account(account))
            .into())
    }

    fn insert_account(&mut self, order: AccountOrder) {
        let display_name = order.display_name.unwrap_or_else(|| order.username.clone());
        if let Some(account) = self.accounts.get_mut(&order.username) {
            account.display_name = display_name;
            account.country = order.country;
            account.business = order.business;
            account.dm_everyone = order.dm_everyone;
            account.age = order.age;
            return;
        }
        let posts = (1..=3)
            .map(|number| self.mint.post_id(&order.username, number))
            .collect();
        self.accounts.insert(
            order.username.clone(),
            Account {
                automatic: Automatic::default(),
                username: order.username,
                display_name,
                country: order.country,
                business: order.business,
                dm_everyone: order.dm_everyone,
                age: order.age,
                posts,
                comment_to_message: false,
                comments: VecDeque::new(),
                chats: HashMap::new(),
                recent: BTreeSet::new(),
            },
        );
    }

    /// Creates a person, or changes one and keeps their chats.
    ///
    /// # Errors
    /// An invalid name or country, or too many people.
    pub fn put_person(&mut self, order: PersonOrder) -> Result<Value, ControlError> {
        check_name(&order.username, order.display_name.as_deref(), &order.country)?;
        if self.accounts.contains_key(&order.username) {
            return Err(ControlError::Conflict(format!("{} is an account", order.username)));
        }
        if !self.people.contains_key(&order.username) && self.people.len() >= limits::PEOPLE {
            return Err(full("people", limits::PEOPLE));
        }
        let username = order.username.clone();
        self.insert_person(order);
        self.revision += 1;
        Ok(self.people.get(&username).map(|person| self.show_person(person)).into())
    }

    pub(super) fn insert_person(&mut self, order: PersonOrder) {
        let unique_identifier = self.mint.unique_identifier(&order.username);
        self.people.insert(
            order.username.clone(),
            Person {
                display_name: order.display_name.unwrap_or_else(|| order.username.clone()),
                username: order.username,
                country: order.country,
                flagged: order.flagged,
                follower: order.follower,
                age: order.age,
                unique_identifier,
            },
        );
    }

    /// Whether a load can add people without exceeding the limit.
    pub(crate) fn has_room_for(&self, people: usize) -> bool {
        self.people.len() + people <= limits::PEOPLE && self.chats.len() + people <= limits::CHATS
    }

    /// Whether the account exists.
    pub fn knows_account(&self, username: &str) -> bool {
        self.accounts.contains_key(username)
    }

    /// The chat between an account and a person, created if needed. A new one has no messages.
    ///
    /// # Errors
    /// An unknown side, or too many chats.
    pub(super) fn chat_between(&mut self, account: &str, person: &str) -> Result<usize, ControlError> {
        if !self.people.contains_key(person) {
            return Err(ControlError::Unknown(format!("person {person}")));
        }
        let Some(owner) = self.accounts.get_mut(account) else {
            return Err(ControlError::Unknown(format!("account {account}")));
        };
        if let Some(index) = owner.chats.get(person) {
            return Ok(*index);
        }
        if self.chats.len() >= limits::CHATS {
            return Err(full("chats", limits::CHATS));
        }
        let index = self.chats.len();
        let conversation = self.mint.conversation_id();
        owner.chats.insert(person.to_owned(), index);
        self.by_conversation.insert(conversation.clone(), index);
        self.chats
            .push(Chat::new(conversation, account.to_owned(), person.to_owned()));
        Ok(index)
    }

    /// All objects that a driver may name, in one response.
    pub fn show(&self) -> Value {
        let mut accounts: Vec<_> = self.accounts.values().collect();
        accounts.sort_by(|a, b| a.username.cmp(&b.username));
        let mut people: Vec<_> = self
            .people
            .values()
            .filter(|person| !person.username.starts_with("load_"))
            .collect();
        people.sort_by(|a, b| a.username.cmp(&b.username));
        let mut apps: Vec<_> = self.apps.values().map(App::show).collect();
        apps.sort_by_key(|app| app["client_key"].to_string());
        json!({
            "origin": self.origin,
            "settings": self.settings,
            "apps": apps,
            "accounts": accounts.into_iter().map(|a| self.show_account(a)).collect::<Vec<_>>(),
            "people": people.into_iter().map(|p| self.show_person(p)).collect::<Vec<_>>(),
        })
    }

    fn show_account(&self, account: &Account) -> Value {
        json!({
            "username": account.username,
            "display_name": account.display_name,
            "country": account.country,
            "business": account.business,
            "may_message": account.may_message(),
            "dm_everyone": account.dm_everyone,
            "age": account.age,
            "posts": account.posts,
            "avatar": self.avatar_path(&account.username),
            "apps": self.grants.apps_of(&account.username),
        })
    }

    fn show_person(&self, person: &Person) -> Value {
        json!({
            "username": person.username,
            "display_name": person.display_name,
            "country": person.country,
            "flagged": person.flagged,
            "follower": person.follower,
            "age": person.age,
            "unique_identifier": person.unique_identifier,
            "avatar": self.avatar_path(&person.username),
        })
    }
}

fn full(what: &str, bound: usize) -> ControlError {
    ControlError::Conflict(format!("the sandbox allows at most {bound} {what}"))
}

fn check_name(username: &str, display_name: Option<&str>, country: &str) -> Result<(), ControlError> {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'.' | b'-');
    if username.is_empty() || username.len() > limits::NAME || !username.bytes().all(plain) {
        return Err(ControlError::Invalid(format!(
            "a username has 1 to {} letters, digits, '_', '.' or '-'",
            limits::NAME
        )));
    }
    if display_name.is_some_and(|name| name.is_empty() || name.chars().count() > limits::NAME) {
        return Err(ControlError::Invalid(format!(
            "a display name has 1 to {} characters",
            limits::NAME
        )));
    }
    if !region::is_code(country) {
        return Err(ControlError::Invalid("a country is two capital letters".into()));
    }
    Ok(())
}
