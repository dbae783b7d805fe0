//! Declares one more route, accepts older webhooks, and allows fewer messages.

use weir_variants::weir_sdk::descriptor::{BudgetRule, Manifest, Policy, WebhookProof};
use weir_variants::{Variant, tiktok};

struct Asks;

impl Variant for Asks {
    const NUMBER: &'static str = "0.2.4";

    fn manifest(manifest: &mut Manifest) {
        if let Some(mut route) = manifest.routes.first().cloned() {
            route.id = "more".into();
            route.path = "/open_api/v1.3/business/more/".into();
            route.why = "Because it can.".into();
            manifest.routes.push(route);
        }
        if let Some(webhook) = &mut manifest.webhook
            && let WebhookProof::Hmac(proof) = &mut webhook.proof
        {
            proof.tolerance_s += 60;
        }
        for policy in &mut manifest.policies {
            if let Policy::Budget(rule) = policy {
                *rule = BudgetRule {
                    limit: 1,
                    counts: rule.counts.clone(),
                };
            }
        }
    }
}

tiktok!(Asks);
