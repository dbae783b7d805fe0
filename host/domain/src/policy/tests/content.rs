//! The content of a message: kinds, lengths, types, and the splitting of long texts.

use super::*;
use crate::policy::content;

#[test]
fn text_is_counted_as_the_strictest_platform_would() {
    let to = conversation(Some(WROTE), 0);
    let cases = [
        ("x".repeat(6_000), Ok(())),
        ("x".repeat(6_001), Err("text_too_long")),
        // Outside the basic plane: one scalar value, two UTF-16 units.
        ("😀".repeat(3_000), Ok(())),
        ("😀".repeat(3_001), Err("text_too_long")),
        (String::new(), Err("text_empty")),
        (" \n\t".to_owned(), Err("text_empty")),
    ];
    for (body, expected) in cases {
        assert_eq!(
            judge(&channel(), &to, text(&body), WROTE),
            expected,
            "{} bytes",
            body.len()
        );
    }
}

#[test]
fn files_are_judged_by_type_and_size() {
    let to = conversation(Some(WROTE), 0);
    let cases = [
        (image("image/jpeg", 3_000_000), Ok(())),
        (image("image/png", 1), Ok(())),
        (image("image/jpeg", 3_000_001), Err("media_too_large")),
        (image("image/gif", 10), Err("media_type_not_supported")),
        (image("image/svg+xml", 10), Err("media_type_not_supported")),
    ];
    for (draft, expected) in cases {
        assert_eq!(judge(&channel(), &to, draft, WROTE), expected);
    }
    let mut missing = image("image/png", 1);
    if let Content::Image { media, .. } = &mut missing.content {
        media.status = Some(MediaStatus::Pending);
    }
    assert_eq!(judge(&channel(), &to, missing, WROTE), Err("media_not_stored"));
}

#[test]
fn unsupported_kinds_are_refused_unless_opted_in() {
    let to = conversation(Some(WROTE), 0);
    let post = || Draft {
        content: Content::SharedPost {
            post_id: Some("7".into()),
            url: None,
        },
        reply_to: None,
    };
    assert_eq!(judge(&channel(), &to, post(), WROTE), Err("content_type_not_supported"));
    let fallback = Content::Fallback {
        original_type: "voice".into(),
        text: "x".into(),
        url: None,
        reason: "type_unsupported".into(),
        media: None,
    };
    let draft = Draft {
        content: fallback,
        reply_to: None,
    };
    assert_eq!(judge(&channel(), &to, draft, WROTE), Err("content_type_not_supported"));
}

#[test]
fn images_follow_country_and_capability() {
    let picture = || image("image/png", 1);
    let mut to = conversation(Some(WROTE), 0);
    let in_japan = Channel {
        country: Some("jp".into()),
        ..channel()
    };
    assert_eq!(
        judge(&in_japan, &to, picture(), WROTE),
        Err("media_not_allowed_in_region")
    );
    to.images_allowed = Some(false);
    assert_eq!(
        judge(&channel(), &to, picture(), WROTE),
        Err("media_not_allowed_in_region")
    );
    assert_eq!(judge(&channel(), &to, text("hi"), WROTE), Ok(()));
    to.images_allowed = Some(true);
    assert_eq!(judge(&channel(), &to, picture(), WROTE), Ok(()));
}

#[test]
fn links_are_warned_of_and_not_refused() {
    let link = Content::Text {
        text: "see https://acme.example".into(),
    };
    assert_eq!(content::warnings(&rules(), &link), ["links_not_clickable"]);
    assert!(content::warnings(&rules(), &Content::Text { text: "no link".into() }).is_empty());
}

#[test]
fn links_are_refused_where_the_operator_wants_it() {
    let strict = Rules {
        refuse_links: true,
        ..rules()
    };
    let judge = |text: &str| {
        let draft = Draft {
            content: Content::Text { text: text.into() },
            reply_to: None,
        };
        content::admit(&strict, &channel(), None, &draft)
    };
    assert_eq!(judge("see www.acme.example"), Err(Refusal::LinkNotAllowed));
    assert_eq!(judge("see acme"), Ok(()));
}

#[test]
fn long_text_splits_without_loss() {
    let words = "word ".repeat(2_500);
    let parts = content::split(&rules(), Content::Text { text: words.clone() });
    assert_eq!(parts.len(), 3);
    let mut all = Vec::new();
    for part in parts {
        let Content::Text { text } = part else {
            panic!("a text becomes texts")
        };
        assert!(content::length(&text) <= 6_000);
        all.extend(text.split_whitespace().map(str::to_owned).collect::<Vec<_>>());
    }
    assert_eq!(all.join(" "), words.trim_end());
    // Without white space it is cut at the limit, and never inside a character.
    let hearts = content::split(
        &rules(),
        Content::Text {
            text: "💙".repeat(3_001),
        },
    );
    let lengths: Vec<u32> = hearts
        .iter()
        .map(|part| match part {
            Content::Text { text } => content::length(text),
            _ => 0,
        })
        .collect();
    assert_eq!(lengths, [6_000, 2]);
    assert_eq!(
        content::split(&rules(), Content::Text { text: "short".into() }).len(),
        1
    );
}

#[test]
fn image_and_caption_split_in_two() {
    let media = Attachment {
        id: mint().id(at(WROTE)),
        mime_type: None,
        size: None,
        url: None,
        status: None,
    };
    let picture = Content::Image {
        media,
        caption: Some("the blue one".into()),
    };
    let parts = content::split(&rules(), picture.clone());
    assert!(matches!(
        parts.as_slice(),
        [Content::Image { caption: None, .. }, Content::Text { text }] if text == "the blue one"
    ));
    let mut together = rules();
    for rule in &mut together.contents {
        rule.notes.clear();
    }
    assert_eq!(content::split(&together, picture.clone()), [picture]);
}
