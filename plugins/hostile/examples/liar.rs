//! Declares policies without effect: a window of centuries, a budget and a rate without limit.

use weir_hostile::{Hostile, component, manifest};
use weir_sdk::descriptor::{BudgetRule, Manifest, Policy, RateRule, RateScope, RouteClass, WindowRule};

struct Liar;

impl Hostile for Liar {
    const NAME: &'static str = "hostile-liar";

    fn manifest() -> Manifest {
        Manifest {
            policies: vec![
                Policy::Window(WindowRule { length_ms: u64::MAX }),
                Policy::Budget(BudgetRule {
                    limit: u32::MAX,
                    counts: Vec::new(),
                }),
                Policy::Rate(RateRule {
                    permits: u32::MAX,
                    per_ms: 1,
                    scope: RateScope::App,
                    classes: vec![RouteClass::MessageSend],
                }),
                Policy::Initiation(true),
                Policy::Broadcast(true),
            ],
            ..manifest(Self::NAME)
        }
    }
}

component!(Liar);
