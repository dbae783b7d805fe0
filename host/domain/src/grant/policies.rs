//! Compares two versions' policies: whether one limits messages at least as tightly as the other.

use std::fmt::Write as _;

use crate::manifest::{Policy, RateScope, RegionSubject};

/// Whether every limit that was granted is kept by the requested policies, with an equal or a tighter one. A limit that
/// did not exist before needs no grant.
pub(super) fn are_within(requested: &[Policy], given: &[Policy]) -> bool {
    given.iter().all(|policy| is_kept(policy, requested))
}

fn is_kept(policy: &Policy, requested: &[Policy]) -> bool {
    match policy {
        Policy::Window { length_ms } => each(requested, |other| match other {
            Policy::Window { length_ms: other } => Some(other <= length_ms),
            _ => None,
        }),
        Policy::Budget { limit, counts } => each(requested, |other| match other {
            Policy::Budget {
                limit: other,
                counts: counted,
            } => Some(other <= limit && counts.iter().all(|origin| counted.contains(origin))),
            _ => None,
        }),
        Policy::Rate {
            permits,
            per_ms,
            scope,
            classes,
        } => requested.iter().any(|other| match other {
            Policy::Rate {
                permits: fewer,
                per_ms: longer,
                scope: wider,
                classes: more,
            } => {
                // A limit for all channels of an app together applies to each of them.
                let is_for_all = wider == scope || *wider == RateScope::App;
                fewer <= permits && longer >= per_ms && is_for_all && classes.iter().all(|class| more.contains(class))
            }
            _ => false,
        }),
        Policy::Region { what, countries, .. } => countries.iter().all(|country| {
            requested.iter().any(|other| match other {
                Policy::Region {
                    what: same,
                    countries: excluded,
                    ..
                } => same == what && excluded.iter().any(|one| one.eq_ignore_ascii_case(country)),
                _ => false,
            })
        }),
        Policy::Initiation { allowed } => {
            *allowed
                || each(requested, |other| match other {
                    Policy::Initiation { allowed } => Some(!allowed),
                    _ => None,
                })
        }
        Policy::Broadcast { allowed } => {
            *allowed
                || each(requested, |other| match other {
                    Policy::Broadcast { allowed } => Some(!allowed),
                    _ => None,
                })
        }
    }
}

/// Whether policies of a kind exist, and each of them keeps a limit.
fn each(requested: &[Policy], keeps: impl Fn(&Policy) -> Option<bool>) -> bool {
    let mut kept = requested.iter().filter_map(keeps).peekable();
    kept.peek().is_some() && kept.all(|keeps| keeps)
}

/// A policy, described for a person.
pub(super) fn describe(policy: &Policy) -> String {
    match policy {
        Policy::Window { length_ms } => format!("a messaging window of {}", span(*length_ms)),
        Policy::Budget { limit, counts } => {
            let mut words = format!("at most {limit} messages until the contact writes again");
            if !counts.is_empty() {
                let _ = write!(words, ", counting those from {}", counts.join(" and "));
            }
            words
        }
        Policy::Rate {
            permits,
            per_ms,
            scope,
            classes,
        } => {
            let whose = match scope {
                RateScope::App => "an app",
                RateScope::Channel => "a channel",
            };
            let classes: Vec<_> = classes.iter().map(ToString::to_string).collect();
            let span = span(u64::from(*per_ms));
            format!(
                "at most {permits} requests of {whose} in {span} ({})",
                classes.join(", ")
            )
        }
        Policy::Region { what, countries, .. } => {
            let what = match what {
                RegionSubject::Connect => "accounts",
                RegionSubject::Images => "pictures",
            };
            format!("no {what} in {}", countries.join(", "))
        }
        Policy::Initiation { allowed: true } => "a business may write first".to_owned(),
        Policy::Initiation { allowed: false } => "only the contact may write first".to_owned(),
        Policy::Broadcast { allowed: true } => "one message may have several recipients".to_owned(),
        Policy::Broadcast { allowed: false } => "no message to several recipients".to_owned(),
    }
}

fn span(ms: u64) -> String {
    const UNITS: [(u64, &str); 3] = [(3_600_000, "h"), (60_000, "min"), (1_000, "s")];
    let whole = UNITS.iter().find(|(unit, _)| ms > 0 && ms.is_multiple_of(*unit));
    whole.map_or_else(|| format!("{ms} ms"), |(unit, name)| format!("{} {name}", ms / unit))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::manifest::RouteClass;

    fn window(hours: u64) -> Policy {
        Policy::Window {
            length_ms: hours * 3_600_000,
        }
    }

    fn budget(limit: u32, counts: &[&str]) -> Policy {
        Policy::Budget {
            limit,
            counts: counts.iter().map(ToString::to_string).collect(),
        }
    }

    fn rate(permits: u32, per_ms: u32, scope: RateScope, classes: &[RouteClass]) -> Policy {
        Policy::Rate {
            permits,
            per_ms,
            scope,
            classes: classes.to_vec(),
        }
    }

    fn region(countries: &[&str]) -> Policy {
        Policy::Region {
            id: "pictures".into(),
            what: RegionSubject::Images,
            countries: countries.iter().map(ToString::to_string).collect(),
            source: String::new(),
        }
    }

    /// Each kind as it was granted, with changes that narrow it and that widen it; removing it widens it too.
    #[test]
    fn only_what_widens_is_not_within() {
        use RateScope::{App, Channel};
        use RouteClass::{MessageSend, Read};
        let sends = [MessageSend];
        let both = [MessageSend, Read];
        let initiation = |allowed| Policy::Initiation { allowed };
        let broadcast = |allowed| Policy::Broadcast { allowed };
        let cases = [
            (window(48), vec![window(48), window(24)], vec![window(49)]),
            (
                budget(10, &["app"]),
                vec![budget(10, &["app"]), budget(3, &["app", "web"])],
                vec![budget(11, &["app"]), budget(10, &[])],
            ),
            (
                rate(10, 1_000, Channel, &sends),
                vec![
                    rate(10, 1_000, Channel, &sends),
                    rate(9, 1_000, Channel, &sends),
                    rate(10, 2_000, Channel, &sends),
                    rate(10, 1_000, App, &sends),
                    rate(10, 1_000, Channel, &both),
                ],
                vec![
                    rate(11, 1_000, Channel, &sends),
                    rate(10, 999, Channel, &sends),
                    rate(10, 1_000, Channel, &[Read]),
                ],
            ),
            (
                rate(10, 1_000, App, &sends),
                vec![rate(5, 1_000, App, &sends)],
                vec![rate(10, 1_000, Channel, &sends)],
            ),
            (
                region(&["US", "GB"]),
                vec![region(&["gb", "US", "CA"])],
                vec![region(&["US"])],
            ),
            (initiation(false), vec![initiation(false)], vec![initiation(true)]),
            (broadcast(false), vec![broadcast(false)], vec![broadcast(true)]),
        ];
        for (given, narrower, wider) in cases {
            let given = [given];
            for requested in narrower {
                assert!(are_within(std::slice::from_ref(&requested), &given), "{requested:?}");
            }
            for requested in wider {
                assert!(!are_within(std::slice::from_ref(&requested), &given), "{requested:?}");
            }
            assert!(!are_within(&[], &given), "{given:?} was removed");
            assert!(are_within(&given, &[]), "a new limit: {given:?}");
        }
        assert!(are_within(&[], &[initiation(true), broadcast(true)]));
        assert!(!are_within(&[window(24), window(72)], &[window(48)]));
    }
}
