//! Several hosts count requests under a rate together.

use std::time::Duration;

use weir_domain::manifest::{RateScope, RouteClass};
use weir_domain::policy::Rate;

use super::{Factory, run};
use crate::{Leave, SharedRate};

const BEGIN: Duration = Duration::from_secs(1_700_000_000);

fn rate(bucket: &str, permits: u32) -> SharedRate {
    let rate = Rate {
        permits,
        per: Duration::from_secs(1),
        scope: RateScope::App,
        classes: vec![RouteClass::MessageSend],
    };
    SharedRate::of(bucket.to_owned(), &rate)
}

fn ms(ms: u64) -> Duration {
    BEGIN + Duration::from_millis(ms)
}

pub fn what_leaves_is_counted_by_all_hosts(factory: Factory) {
    run(async {
        let made = factory();
        let (store, ten) = (&made.store, rate("tiktok/0", 10));
        let mut left = Vec::new();
        let mut now = BEGIN;
        while left.len() < 40 {
            // Two hosts ask at the same moment, and again when they are due.
            for _ in 0..2 {
                match store.leave(vec![ten.clone()], now).await.unwrap() {
                    Leave::Now(numbers) => {
                        left.push(now);
                        store.arrived(vec![(ten.clone(), numbers[0])], now).await.unwrap();
                    }
                    Leave::At(at) => now = at,
                }
            }
        }
        let crowded = left
            .windows(11)
            .find(|eleven| eleven[10] - eleven[0] < Duration::from_secs(1));
        assert_eq!(crowded, None, "{left:?}");
        assert!(left[39] - left[0] < Duration::from_millis(4_100), "the rate is used up");
        let other = store.leave(vec![rate("other/0", 10)], BEGIN).await.unwrap();
        assert!(matches!(other, Leave::Now(_)), "another rate counts for itself");
    });
}

pub fn a_request_is_counted_when_it_arrived_at_the_latest(factory: Factory) {
    run(async {
        let made = factory();
        let (store, one) = (&made.store, rate("tiktok/0", 1));
        let leave = async |at| store.leave(vec![one.clone()], ms(at)).await.unwrap();
        let Leave::Now(numbers) = leave(0).await else {
            panic!("nothing left before it");
        };
        store.arrived(vec![(one.clone(), numbers[0])], ms(300)).await.unwrap();
        assert_eq!(leave(1_200).await, Leave::At(ms(1_310)));
        assert!(matches!(leave(1_310).await, Leave::Now(_)));
        // Its host died: it is counted for a span of the rule, and then no more.
        assert_eq!(leave(2_400).await, Leave::At(ms(3_320)), "it may arrive until 2,310");
        assert!(matches!(leave(3_320).await, Leave::Now(_)));
    });
}

pub fn a_pause_holds_all_hosts_and_is_not_shortened(factory: Factory) {
    run(async {
        let made = factory();
        let (store, ten) = (&made.store, rate("tiktok/0", 10));
        store.hold(vec![ten.clone()], ms(5_000)).await.unwrap();
        store.hold(vec![ten.clone()], ms(3_000)).await.unwrap();
        assert_eq!(
            store.leave(vec![ten.clone()], ms(4_000)).await.unwrap(),
            Leave::At(ms(5_000))
        );
        assert!(matches!(
            store.leave(vec![ten], ms(5_000)).await.unwrap(),
            Leave::Now(_)
        ));
    });
}

pub fn a_clock_that_was_set_back_stops_no_rate(factory: Factory) {
    run(async {
        let made = factory();
        let (store, one) = (&made.store, rate("tiktok/0", 1));
        assert!(matches!(
            store.leave(vec![one.clone()], ms(3_600_000)).await.unwrap(),
            Leave::Now(_)
        ));
        assert!(matches!(
            store.leave(vec![one.clone()], ms(0)).await.unwrap(),
            Leave::Now(_)
        ));
        assert!(matches!(store.leave(vec![one], ms(200)).await.unwrap(), Leave::At(_)));
    });
}

pub fn a_request_that_one_of_its_rates_holds_is_counted_by_none(factory: Factory) {
    run(async {
        let made = factory();
        let (store, app, channel) = (&made.store, rate("tiktok/0", 10), rate("tiktok/1/channel", 1));
        let both = async |at| store.leave(vec![app.clone(), channel.clone()], ms(at)).await.unwrap();
        assert!(matches!(both(0).await, Leave::Now(numbers) if numbers.len() == 2));
        assert!(matches!(both(200).await, Leave::At(_)));
        assert!(
            matches!(store.leave(vec![app.clone()], ms(200)).await.unwrap(), Leave::Now(numbers) if numbers == [2])
        );
    });
}
