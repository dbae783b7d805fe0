//! Stage changes of a connector's versions: promotion, canary, rollback, retirement, quarantine.
//!
//! At most one version is active and at most one is a canary; a version that owns states of accounts is never retired,
//! and drains instead of being staged.

use crate::event::EventType;
use crate::rollout::{Canary, VersionAct, VersionStage};

/// A version with its present stage.
#[derive(Clone, Debug, PartialEq)]
pub struct KnownVersion {
    pub number: String,
    pub digest: String,
    pub stage: VersionStage,
    /// Existing accounts whose states it owns.
    pub owns: u64,
}

/// An action on a version.
#[derive(Clone, Debug, PartialEq)]
pub enum VersionDecision {
    /// It becomes the active one, by a promotion or a rollback.
    Activate { act: VersionAct, reason: String },
    /// It becomes the canary, or its share or rule changes.
    BeginCanary(Canary),
    /// Its canary run ends.
    EndCanary { reason: String, failed: bool },
    /// It is retired.
    Retire,
    /// It is quarantined after failures.
    Quarantine { reason: String },
}

/// One version's next stage.
#[derive(Clone, Debug, PartialEq)]
pub struct StageChange {
    pub number: String,
    pub stage: VersionStage,
    pub canary: Option<Canary>,
    /// The reason, for a person; empty if a person did it.
    pub reason: String,
    /// How its canary run ended, for a person; `None` if it begins or continues.
    pub run_ended: Option<String>,
    /// For an activation, whether it is a rollback.
    pub rolled_back: Option<bool>,
    /// Whether the reason is stored as the version's failure.
    pub is_failure: bool,
    pub event: Option<EventType>,
}

/// Why nothing changes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unchanged {
    NotFound,
    /// It has this stage already.
    Already,
    /// It is active or a canary.
    Serves,
    /// It owns the states of this many accounts.
    Owns(u64),
}

impl StageChange {
    fn to(version: &KnownVersion, stage: VersionStage, reason: &str, event: Option<EventType>) -> Self {
        Self {
            number: version.number.clone(),
            stage,
            canary: None,
            reason: reason.to_owned(),
            run_ended: Some(reason.to_owned()),
            rolled_back: None,
            is_failure: false,
            event,
        }
    }

    /// A version whose canary run ends drains while it owns states of accounts.
    fn end_of_canary(version: &KnownVersion, reason: &str) -> Self {
        let stage = match version.owns {
            0 => VersionStage::Staged,
            _ => VersionStage::Draining,
        };
        Self::to(version, stage, reason, Some(EventType::ConnectorRolledBack))
    }
}

/// The changes of a decision, in order; the version that it concerns comes last.
///
/// # Errors
/// Why nothing changes.
pub fn decide(
    versions: &[KnownVersion],
    number: &str,
    decision: VersionDecision,
) -> Result<Vec<StageChange>, Unchanged> {
    let found = versions.iter().find(|version| version.number == number);
    let found = found.ok_or(Unchanged::NotFound)?;
    let at = |stage| versions.iter().find(|version| version.stage == stage);
    let other_canary = at(VersionStage::Canary).filter(|canary| canary.digest != found.digest);
    match decision {
        VersionDecision::Activate { act, reason } => {
            if found.stage == VersionStage::Active {
                return Err(Unchanged::Already);
            }
            let before = at(VersionStage::Active);
            let mut changes: Vec<_> = before
                .map(|before| StageChange::to(before, VersionStage::Draining, "", None))
                .into_iter()
                .collect();
            // The promotion ends its canary run: all states become the active version's.
            let words = format!("{number} became the active version");
            changes.extend(other_canary.map(|canary| StageChange::end_of_canary(canary, &words)));
            let rolled_back = act == VersionAct::RollBack;
            // Activating a version that served before is a rollback, not a promotion.
            let served = matches!(found.stage, VersionStage::Retired | VersionStage::Draining);
            let event = if rolled_back || served {
                EventType::ConnectorRolledBack
            } else {
                EventType::ConnectorPromoted
            };
            changes.push(StageChange {
                rolled_back: Some(rolled_back),
                run_ended: Some("it was promoted".to_owned()),
                ..StageChange::to(found, VersionStage::Active, &reason, Some(event))
            });
            Ok(changes)
        }
        VersionDecision::BeginCanary(canary) => {
            let words = "another version became the canary";
            let ended = other_canary.map(|other| StageChange::end_of_canary(other, words));
            let words = format!("serves {} of 100 accounts", canary.percent);
            let started = StageChange {
                canary: Some(canary),
                run_ended: None,
                ..StageChange::to(found, VersionStage::Canary, &words, Some(EventType::ConnectorCanary))
            };
            Ok(ended.into_iter().chain([started]).collect())
        }
        VersionDecision::EndCanary { reason, failed } => {
            if found.stage != VersionStage::Canary {
                return Err(Unchanged::NotFound);
            }
            Ok(vec![StageChange {
                is_failure: failed,
                ..StageChange::end_of_canary(found, &reason)
            }])
        }
        VersionDecision::Retire => match (found.stage, found.owns) {
            (VersionStage::Active | VersionStage::Canary, _) => Err(Unchanged::Serves),
            (_, accounts @ 1..) => Err(Unchanged::Owns(accounts)),
            (VersionStage::Retired, 0) => Err(Unchanged::Already),
            (_, 0) => Ok(vec![StageChange::to(found, VersionStage::Retired, "", None)]),
        },
        VersionDecision::Quarantine { reason } => {
            if found.stage == VersionStage::Quarantined {
                return Err(Unchanged::Already);
            }
            let event = Some(EventType::ConnectorQuarantined);
            Ok(vec![StageChange {
                is_failure: true,
                ..StageChange::to(found, VersionStage::Quarantined, &reason, event)
            }])
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::rollout::CanaryRule;
    use crate::time::Timestamp;

    fn canary(percent: u8) -> Canary {
        Canary {
            percent,
            rule: CanaryRule::default(),
            since: Timestamp::from_millis(0),
        }
    }

    fn staged(count: usize) -> Vec<KnownVersion> {
        (0..count)
            .map(|n| KnownVersion {
                number: n.to_string(),
                digest: format!("sha256:{n}"),
                stage: VersionStage::Staged,
                owns: 0,
            })
            .collect()
    }

    fn decisions() -> impl Strategy<Value = VersionDecision> {
        let reason = String::from("a reason");
        prop_oneof![
            prop_oneof![Just(VersionAct::Promote), Just(VersionAct::RollBack)].prop_map(|act| {
                VersionDecision::Activate {
                    act,
                    reason: String::new(),
                }
            }),
            (0..=100_u8).prop_map(|percent| VersionDecision::BeginCanary(canary(percent))),
            any::<bool>().prop_map({
                let reason = reason.clone();
                move |failed| VersionDecision::EndCanary {
                    reason: reason.clone(),
                    failed,
                }
            }),
            Just(VersionDecision::Retire),
            Just(VersionDecision::Quarantine { reason }),
        ]
    }

    fn apply(versions: &mut [KnownVersion], changes: &[StageChange]) {
        for change in changes {
            let changed = versions.iter_mut().find(|version| version.number == change.number);
            changed.expect("only known versions change").stage = change.stage;
        }
    }

    proptest! {
        /// For any sequence of decisions and any owners of states: one active version, one canary, and no version with
        /// states of its own is retired or staged again.
        #[test]
        fn stages_stay_exclusive(steps in prop::collection::vec((0..4_usize, decisions(), 0..3_u64), 1..40)) {
            let mut versions = staged(4);
            for (n, decision, owns) in steps {
                versions[n].owns = owns;
                let number = n.to_string();
                if let Ok(changes) = decide(&versions, &number, decision.clone()) {
                    prop_assert_eq!(changes.last().map(|last| last.number.as_str()), Some(number.as_str()));
                    for change in &changes {
                        let owner = versions.iter().find(|known| known.number == change.number);
                        let owns = owner.is_some_and(|known| known.owns > 0);
                        let is_idle = matches!(change.stage, VersionStage::Retired | VersionStage::Staged);
                        prop_assert!(!(owns && is_idle), "{change:?}");
                        prop_assert_eq!(change.canary.is_some(), change.stage == VersionStage::Canary);
                    }
                    apply(&mut versions, &changes);
                    // Repeating a decision changes nothing except a canary's share.
                    if !matches!(decision, VersionDecision::BeginCanary(_)) {
                        prop_assert!(decide(&versions, &number, decision).is_err());
                    }
                }
                for stage in [VersionStage::Active, VersionStage::Canary] {
                    let count = versions.iter().filter(|version| version.stage == stage).count();
                    prop_assert!(count <= 1, "{count} versions are {stage:?}");
                }
            }
        }
    }

    #[test]
    fn promotion_drains_and_ends_the_other_canary() {
        let mut versions = staged(3);
        versions[0].stage = VersionStage::Active;
        versions[1].stage = VersionStage::Canary;
        versions[1].owns = 2;
        let activate = VersionDecision::Activate {
            act: VersionAct::Promote,
            reason: String::new(),
        };
        let changes = decide(&versions, "2", activate).expect("it can be promoted");
        let stages: Vec<_> = changes
            .iter()
            .map(|change| (change.number.as_str(), change.stage, change.event))
            .collect();
        assert_eq!(
            stages,
            [
                ("0", VersionStage::Draining, None),
                ("1", VersionStage::Draining, Some(EventType::ConnectorRolledBack)),
                ("2", VersionStage::Active, Some(EventType::ConnectorPromoted)),
            ]
        );
    }

    #[test]
    fn version_that_served_is_rolled_back_to() {
        let mut versions = staged(1);
        versions[0].stage = VersionStage::Draining;
        let activate = VersionDecision::Activate {
            act: VersionAct::Promote,
            reason: String::new(),
        };
        let changes = decide(&versions, "0", activate).expect("it can come back");
        assert_eq!(changes[0].event, Some(EventType::ConnectorRolledBack));
    }
}
