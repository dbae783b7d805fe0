//! A connector's requested grants, and the operator's decision.

use weir_domain::grant::Grants;

use super::*;
use crate::testing::{component, webhook, with_echo};

async fn install(api: &Api, name: &str) -> ApiResponse {
    let request = api
        .request("POST", "/v1/connectors")
        .header("content-type", "application/wasm");
    let installed = api
        .call(request.body(Body::from(component(name))).expect("a request"))
        .await;
    assert_eq!(installed.status, StatusCode::CREATED, "{installed:?}");
    installed
}

#[tokio::test]
async fn wanted_grants_are_taken_as_shown() {
    let api = Api::open().await;
    let installed = install(&api, "echo").await;
    let version = installed.body["version"].as_str().expect("a version");
    let shown = installed.body["wanted_grants"].clone();
    assert!(
        shown[0]["words"].is_string() && shown[0]["changes"].is_array(),
        "{shown}"
    );
    let given = api
        .json("PUT", "/v1/connectors/echo/grants", json!({ "grants": shown }))
        .await;
    assert_eq!(given.status, StatusCode::OK, "{given:?}");

    // Differences from an earlier grant are shown too, and sent back with the rest.
    let mut grants = api.host.store().grants("echo").await.expect("a database");
    grants.granted[0].method = "DELETE".to_owned();
    let earlier = Grants::to(grants.granted);
    let now = api.host.now();
    api.host
        .store()
        .put_grants("echo", earlier, now)
        .await
        .expect("a database");
    let path = format!("/v1/connectors/echo/versions/{version}");
    let shown = api.get(&path).await.body["wanted_grants"].clone();
    assert_eq!(shown[0]["changes"][0]["before"], "DELETE", "{shown}");
    let given = api
        .json(
            "PUT",
            "/v1/connectors/echo/grants",
            json!({ "version": version, "grants": shown }),
        )
        .await;
    assert_eq!(given.status, StatusCode::OK, "{given:?}");
    assert_eq!(api.get(&path).await.body["missing_grants"], json!([]));
    // And in the form in which the connector shows its grants.
    let grants = api.get("/v1/connectors/echo").await.body["grants"].clone();
    let given = api
        .json("PUT", "/v1/connectors/echo/grants", json!({ "grants": grants }))
        .await;
    assert_eq!(given.status, StatusCode::OK, "{given:?}");

    let mut wrong = grants;
    wrong[0]["scope"] = json!("all");
    let refused = api
        .json("PUT", "/v1/connectors/echo/grants", json!({ "grants": wrong }))
        .await;
    assert_eq!(refused.problem(), "invalid_request", "{refused:?}");
}

/// The grants of Echo as an earlier release wrote them.
async fn as_of_before(host: &Host) -> Grants {
    let mut grants = host.store().grants("echo").await.expect("a database");
    grants
        .granted
        .retain(|grant| !matches!(grant.capability.as_str(), "webhook" | "policy"));
    grants.granted.iter_mut().for_each(|grant| grant.terms = None);
    grants
}

#[tokio::test]
async fn grants_of_an_earlier_release_go_on_serving() {
    let folder = TempDir::new().expect("a directory");
    let host = with_echo(&folder).await;
    let given = host.store().grants("echo").await.expect("a database");
    let of_before = as_of_before(&host).await;
    host.store()
        .put_grants("echo", of_before, host.now())
        .await
        .expect("a database");
    host.store().close().await;
    drop(host);
    let host = Host::open(Config::for_testing(folder.path())).await.expect("a host");
    let received = host.inbound.receive("echo", webhook(&host, "hello")).await;
    received.expect("its webhooks are still verified");
    let grants = host.store().grants("echo").await.expect("a database");
    assert_eq!(grants, given, "they name their terms now");
    let key = std::fs::read_to_string(folder.path().join("admin.key")).expect("the first key");
    let api = Api::over(folder, host, key.trim());
    let version = api.get("/v1/connectors/echo").await.body["active_version"].clone();
    let path = format!("/v1/connectors/echo/versions/{}", version.as_str().expect("a version"));
    assert_eq!(api.get(&path).await.body["missing_grants"], json!([]));
    // A client of an earlier release leaves the terms out.
    let of_before = as_of_before(&api.host).await;
    let body = json!({ "grants": of_before.granted });
    let answered = api.json("PUT", "/v1/connectors/echo/grants", body).await;
    assert_eq!(answered.status, StatusCode::OK, "{answered:?}");
    let terms = &answered.body["grants"][0]["terms"];
    assert_eq!(terms["except"], json!([]), "{answered:?}");
}

#[tokio::test]
async fn webhooks_are_refused_without_a_grant_of_their_proof() {
    let folder = TempDir::new().expect("a directory");
    let host = with_echo(&folder).await;
    let mut grants = host.store().grants("echo").await.expect("a database").granted;
    grants.retain(|grant| grant.capability != "webhook");
    host.connectors
        .decide_grants("echo", None, grants)
        .await
        .expect("an answer");
    let refused = host
        .inbound
        .receive("echo", webhook(&host, "hello"))
        .await
        .expect_err("refused");
    assert!(refused.to_string().contains("has not granted"), "{refused}");
}
