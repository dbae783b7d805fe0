//! Consent and tokens.

use super::*;

#[test]
fn invalid_consent_is_refused_whole() {
    let play = Play::connected();
    assert!(play.world.consent(&consent_request("message.list.read")).is_ok());
    assert!(
        play.world
            .consent(&consent_request("message.list.read,video.publish"))
            .is_err()
    );
    let mut foreign = consent_request("message.list.read");
    foreign.redirect_uri = "https://example.com/callback".into();
    assert!(play.world.consent(&foreign).is_err());
    let mut unknown = consent_request("message.list.read");
    unknown.client_key = "1".into();
    assert!(play.world.consent(&unknown).is_err());
}

#[test]
fn a_code_is_exchanged_once_and_within_ten_minutes() {
    let mut play = Play::connected();
    let code = play.code("acme_store", "message.list.read");
    play.later(10 * MINUTE_MS - 1);
    assert_eq!(code_of(play.exchange(&code)), 0);
    assert_eq!(code_of(play.exchange(&code)), 40110);
    let late = play.code("acme_store", "message.list.read");
    play.later(10 * MINUTE_MS);
    assert_eq!(code_of(play.exchange(&late)), 40110);
}

#[test]
fn failed_exchange_keeps_code_usable() {
    let mut play = Play::connected();
    let code = play.code("acme_store", "message.list.read");
    for (field, wrong, refusal) in [
        ("client_secret", "guess", 40101),
        ("grant_type", "refresh_token", 40108),
        ("redirect_uri", "http://127.0.0.1:1/", 40002),
    ] {
        let mut body = exchange_body(&code);
        body[field] = wrong.into();
        assert_eq!(code_of(play.call(Api::Token, body)), refusal, "{field}");
    }
    assert_eq!(code_of(play.exchange(&code)), 0);
}

#[test]
fn a_refresh_rotates_the_token_and_its_year_counts_down() {
    let mut play = Play::connected();
    play.later(30 * DAY_MS);
    let old = play.refresh_token.clone();
    let fresh = play.refresh(&old).unwrap();
    assert_eq!(fresh["refresh_token_expires_in"], (365 - 30) * 86_400);
    assert_eq!(fresh["expires_in"], 86_400);
    assert_eq!(code_of(play.refresh(&old)), 40107);
    let new = fresh["refresh_token"].as_str().unwrap().to_owned();
    assert_ne!(new, old);
    play.later(335 * DAY_MS - 1);
    assert_eq!(code_of(play.refresh(&new)), 0);
}

#[test]
fn unrotated_refresh_token_lasts_a_year() {
    let mut play = Play::connected();
    play.set(json!({"rotate_refresh_tokens": false}));
    let token = play.refresh_token.clone();
    assert_eq!(play.refresh(&token).unwrap()["refresh_token"], token.as_str());
    play.later(365 * DAY_MS - 1);
    assert_eq!(code_of(play.refresh(&token)), 0);
    play.later(1);
    assert_eq!(code_of(play.refresh(&token)), 40103);
}

#[test]
fn an_access_token_dies_after_a_day_and_by_revocation() {
    let mut play = Play::connected();
    let info = |play: &mut Play| {
        let token = play.token.clone();
        code_of(play.call(
            Api::TokenInfo,
            json!({"app_id": DEFAULT_CLIENT_KEY, "access_token": token}),
        ))
    };
    play.later(DAY_MS - 1);
    assert_eq!(code_of(play.business(Api::Profile, json!({}))), 0);
    assert_eq!(info(&mut play), 0);
    play.later(1);
    assert_eq!(code_of(play.business(Api::Profile, json!({}))), 40105);
    assert_eq!(info(&mut play), 40105);

    let mut play = Play::connected();
    let token = play.token.clone();
    let body = json!({"client_id": DEFAULT_CLIENT_KEY, "client_secret": SECRET, "access_token": token});
    assert_eq!(play.call(Api::Revoke, body).unwrap(), json!({}));
    assert_eq!(code_of(play.business(Api::Profile, json!({}))), 40105);
    let refresh = play.refresh_token.clone();
    assert_eq!(code_of(play.refresh(&refresh)), 40107);
}

#[test]
fn a_call_needs_a_token_its_scope_and_its_own_account() {
    let mut play = Play::with_scopes("acme_store", "message.list.read");
    let body = json!({"business_id": play.open_id, "conversation_type": "SINGLE"});
    assert_eq!(code_of(play.call_as(Api::ConversationList, None, body.clone())), 40104);
    assert_eq!(code_of(play.call_as(Api::ConversationList, Some("guess"), body)), 40105);
    assert_eq!(code_of(play.say("C", "hi")), 40001);
    let foreign = json!({"business_id": "-000else", "conversation_type": "SINGLE"});
    assert_eq!(code_of(play.call(Api::ConversationList, foreign)), 40001);
}

#[test]
fn excluded_accounts_can_only_be_read() {
    for (account, business) in [("just_me", false), ("berlin_laden", true)] {
        let mut play = Play::as_account(account);
        let profile = play
            .business(Api::Profile, json!({"fields": ["is_business_account"]}))
            .unwrap();
        assert_eq!(profile["is_business_account"], business);
        let list = play.business(Api::ConversationList, json!({"conversation_type": "SINGLE"}));
        assert_eq!(code_of(list), 40001);
    }
}

#[test]
fn a_profile_field_without_its_scope_is_left_out() {
    let mut play = Play::connected();
    let profile = play
        .business(Api::Profile, json!({"fields": ["display_name", "username"]}))
        .unwrap();
    assert_eq!(profile, json!({"display_name": "Acme Store"}));
}
