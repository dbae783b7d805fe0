//! What a connector asks for, and the operator's answer to it.

use weir_domain::grant::Grants;

use super::*;
use crate::testing::component;

async fn install(api: &Api, name: &str) -> Answered {
    let request = api
        .request("POST", "/v1/connectors")
        .header("content-type", "application/wasm");
    let installed = api
        .ask(request.body(Body::from(component(name))).expect("a request"))
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

    // What differs from an earlier yes is shown too, and given back with the rest.
    let mut grants = api.host.store().grants("echo").await.expect("a record");
    grants.granted[0].method = "DELETE".to_owned();
    let earlier = Grants::to(grants.granted);
    let now = api.host.now();
    api.host
        .store()
        .put_grants("echo", earlier, now)
        .await
        .expect("a record");
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
    // And as the connector shows what it was given.
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
