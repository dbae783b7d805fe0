//! Rollouts: which version of a connector serves an account, when a canary is rolled back, and how an interrupted
//! change of versions is completed.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::limits;
use crate::time::Timestamp;

/// The stage of a version.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum VersionStage {
    /// Installed, serves no account.
    Staged,
    /// Serves a share of the accounts, or shadows the active version and serves none.
    Canary,
    /// Serves all accounts that no other version serves.
    Active,
    /// Finishes its calls, and serves the accounts whose state the next version could not take over.
    Draining,
    /// Served before.
    Retired,
    /// Quarantined after failures.
    Quarantined,
}

/// A canary run, next to the active version.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Canary {
    /// The percentage of accounts that it serves. With 0 it shadows: the active version's calls are replayed against
    /// it, without effect.
    pub percent: u8,
    /// When it is rolled back, or promoted.
    pub rule: CanaryRule,
    /// When the canary run began, or its share or rule last changed.
    pub since: Timestamp,
}

impl Canary {
    /// Whether it serves this account. Depends only on the account, so that every message of it gets the same version;
    /// a larger share includes every account of a smaller one.
    pub fn serves(&self, app: &str, account: &str) -> bool {
        let digest = Sha256::new_with_prefix(app)
            .chain_update([0])
            .chain_update(account)
            .finalize();
        let place = digest
            .iter()
            .take(8)
            .fold(0_u64, |sum, byte| (sum << 8) | u64::from(*byte));
        place % 100 < u64::from(self.percent)
    }
}

/// A change of a connector's versions.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum VersionAct {
    /// A version becomes the active one, and takes over all states.
    Promote,
    /// A version's canary run begins, or its share or rule changes.
    BeginCanary,
    /// A version's canary run ends, and the active version takes its states over.
    EndCanary,
    /// The previous version becomes the active one again.
    RollBack,
}

/// A change of versions, as stored before the first state moves.
#[derive(Clone, Debug, PartialEq)]
pub struct Intent {
    /// The kind of change.
    pub act: VersionAct,
    /// The version that is changed.
    pub version: String,
    /// The version that takes over states.
    pub taker: String,
    /// The version that was active when it began.
    pub before: Option<String>,
    /// The canary run that begins.
    pub canary: Option<Canary>,
    /// Whether the version is rolled back after failures.
    pub failed: bool,
    /// The reason, for a person; empty if a person did it.
    pub reason: String,
    /// When it began.
    pub begun_at: Timestamp,
}

/// How one account's state moves in a change of versions.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct StateSteps<'i> {
    /// First it is returned to this version.
    pub back_to: Option<&'i str>,
    /// Then the taker takes it over.
    pub over: bool,
}

impl Intent {
    fn serves_a_share(&self) -> bool {
        self.canary.as_ref().is_some_and(|canary| canary.percent > 0)
    }

    /// How the state of an account moves that `owner` owns. `canary_number` is the version that was the canary when the
    /// change began.
    pub fn steps(&self, owner: &str, canary_number: Option<&str>, app: &str, account: &str) -> StateSteps<'_> {
        let before = self.before.as_deref();
        let is_meant = match &self.canary {
            Some(canary) => canary.serves(app, account),
            None => true,
        };
        let leaves_canary = owner != self.version && canary_number == Some(owner);
        match self.act {
            VersionAct::EndCanary | VersionAct::RollBack if owner == self.version => StateSteps {
                back_to: Some(&self.taker),
                over: false,
            },
            VersionAct::EndCanary | VersionAct::RollBack => StateSteps::default(),
            VersionAct::Promote | VersionAct::BeginCanary if owner == self.taker => StateSteps {
                // The share became smaller.
                back_to: before.filter(|_| !is_meant),
                over: false,
            },
            VersionAct::Promote | VersionAct::BeginCanary => StateSteps {
                back_to: before.filter(|_| leaves_canary),
                over: is_meant,
            },
        }
    }
}

/// The facts about the version that takes over states, before the first of them moves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TakerFacts {
    /// Its component is available, and loads here.
    pub loads: bool,
    /// The operator has decided about all its requests.
    pub granted: bool,
    /// It was quarantined.
    pub quarantined: bool,
}

/// How an interrupted change is completed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Resolution {
    /// It is carried out.
    Finish,
    /// The states that it moved are returned to their owners.
    Undo,
}

/// Decides how an interrupted change is completed.
pub fn resolve(intent: &Intent, taker: TakerFacts) -> Resolution {
    let may_serve = taker.loads && taker.granted;
    let finish = match intent.act {
        // A canary that ended is never restarted: states that the active version cannot take over now stay.
        VersionAct::EndCanary => true,
        // A person may promote a quarantined version, or run it as a canary; a rollback never activates one.
        VersionAct::Promote => may_serve,
        VersionAct::RollBack => may_serve && !taker.quarantined,
        // A shadowing canary needs no grants.
        VersionAct::BeginCanary => taker.loads && (taker.granted || !intent.serves_a_share()),
    };
    if finish { Resolution::Finish } else { Resolution::Undo }
}

/// A version that became active.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Activation {
    /// The version.
    pub version: String,
    /// Whether by a rollback; `None` if that was not stored.
    pub rolled_back: Option<bool>,
}

/// The version before the active one, in the sequence of activations, oldest first. A rollback removes versions from
/// its end, so that a second one goes further back and does not return to the version that the first one left. Where
/// that was not stored, a version that is in the sequence already came back by a rollback.
pub fn active_before(activations: &[Activation]) -> Option<&str> {
    let mut line: Vec<&str> = Vec::new();
    for Activation { version, rolled_back } in activations {
        let place = line.iter().rposition(|known| known == version);
        match place.filter(|_| *rolled_back != Some(false)) {
            Some(place) => line.truncate(place + 1),
            // A repeated activation, as after a quarantine, is not a new entry.
            None if line.last() == Some(&version.as_str()) => {}
            None => line.push(version),
        }
    }
    line.len().checked_sub(2).and_then(|place| line.get(place)).copied()
}

/// When a canary is rolled back automatically, and when it is promoted.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct CanaryRule {
    /// The number of crashes allowed. Zero by default.
    #[serde(rename = "breaks")]
    pub crashes: u64,
    /// Allowed increase in failure rate over the active version, in percentage points.
    pub margin: u8,
    /// The number of calls before failure rates are compared, and before it is promoted.
    pub calls: u64,
    /// The bake time in seconds.
    pub bake_s: u32,
    /// Whether it is promoted automatically after the bake time.
    pub promote: bool,
}

impl Default for CanaryRule {
    fn default() -> Self {
        Self {
            crashes: 0,
            margin: 5,
            calls: 20,
            bake_s: 3_600,
            promote: false,
        }
    }
}

/// The figures of one version's calls.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Figures {
    /// Calls that ended.
    pub calls: u64,
    /// Calls without a result, for any reason.
    pub failed: u64,
    /// Calls in which the connector crashed or was interrupted.
    #[serde(rename = "broke_off")]
    pub crashed: u64,
    /// Calls by duration: less than 2, 4, 8, … microseconds.
    took: [u64; limits::LATENCY_STEPS],
}

impl Figures {
    /// Counts a call.
    pub fn note(&mut self, failed: bool, crashed: bool, took: Duration) {
        self.calls += 1;
        self.failed += u64::from(failed);
        self.crashed += u64::from(crashed);
        let us = u64::try_from(took.as_micros()).unwrap_or(u64::MAX);
        let step = usize::try_from(us.checked_ilog2().unwrap_or(0)).unwrap_or(0);
        self.took[step.min(limits::LATENCY_STEPS - 1)] += 1;
    }

    /// Adds the calls that another node counted.
    pub fn add(&mut self, other: &Self) {
        self.calls += other.calls;
        self.failed += other.failed;
        self.crashed += other.crashed;
        for (sum, count) in self.took.iter_mut().zip(other.took) {
            *sum += count;
        }
    }

    /// The duration within which this share of the calls ended, rounded up to a power of two of a microsecond; `None`
    /// without calls.
    pub fn within(&self, share: f64) -> Option<Duration> {
        let wanted = (self.calls as f64 * share).ceil().max(1.0) as u64;
        let mut sum = 0;
        for (step, count) in self.took.iter().enumerate() {
            sum += count;
            if sum >= wanted {
                return Some(Duration::from_micros(2 << step));
            }
        }
        None
    }

    /// The percentage of failed calls.
    fn failing(&self) -> f64 {
        if self.calls == 0 {
            0.0
        } else {
            self.failed as f64 * 100.0 / self.calls as f64
        }
    }
}

/// The decision on a canary.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CanaryVerdict {
    /// It continues.
    Bakes,
    /// It is rolled back, for this reason.
    RollBack(String),
    /// It completed its bake time.
    Held,
}

/// Evaluates a canary by its figures and those of the active version in the same time.
pub fn judge(canary: &Canary, on_canary: &Figures, active: &Figures, now: Timestamp) -> CanaryVerdict {
    let rule = canary.rule;
    if on_canary.crashed > rule.crashes {
        return CanaryVerdict::RollBack(format!(
            "crashed in {} of {} calls ({} allowed)",
            on_canary.crashed, on_canary.calls, rule.crashes
        ));
    }
    if on_canary.calls < rule.calls {
        return CanaryVerdict::Bakes;
    }
    let (failing, allowed) = (on_canary.failing(), active.failing() + f64::from(rule.margin));
    if failing > allowed {
        return CanaryVerdict::RollBack(format!(
            "{failing:.1} % of calls failed, {:.1} % of the active version's ({} points more allowed)",
            active.failing(),
            rule.margin
        ));
    }
    if now.since(canary.since) >= Duration::from_secs(rule.bake_s.into()) {
        CanaryVerdict::Held
    } else {
        CanaryVerdict::Bakes
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn canary(percent: u8) -> Canary {
        Canary {
            percent,
            rule: CanaryRule::default(),
            since: Timestamp::from_millis(0),
        }
    }

    fn figures(calls: u64, failed: u64, crashed: u64) -> Figures {
        let mut figures = Figures::default();
        for n in 0..calls {
            figures.note(n < failed, n < crashed, Duration::from_micros(100 + n));
        }
        figures
    }

    proptest! {
        #[test]
        fn a_larger_share_holds_every_account_of_a_smaller_one(account in ".*", a in 0_u8..=100, b in 0_u8..=100) {
            let (few, many) = (canary(a.min(b)), canary(a.max(b)));
            prop_assert!(!few.serves("tiktok", &account) || many.serves("tiktok", &account));
            prop_assert!(!canary(0).serves("tiktok", &account));
            prop_assert!(canary(100).serves("tiktok", &account));
        }
    }

    #[test]
    fn figures_of_two_hosts_are_those_of_one() {
        let (mut sum, both) = (figures(40, 3, 1), figures(100, 3, 1));
        let mut rest = Figures::default();
        for n in 40..100 {
            rest.note(false, false, Duration::from_micros(100 + n));
        }
        sum.add(&rest);
        assert_eq!(sum, both);
    }

    fn intent(act: VersionAct) -> Intent {
        Intent {
            act,
            version: "2".into(),
            taker: "2".into(),
            before: Some("1".into()),
            canary: (act == VersionAct::BeginCanary).then(|| canary(10)),
            failed: false,
            reason: String::new(),
            begun_at: Timestamp::from_millis(0),
        }
    }

    #[test]
    fn states_move_by_the_act() {
        use VersionAct::{BeginCanary, EndCanary, Promote, RollBack};
        let moves = |intent: &Intent, owner: &str| {
            let steps = intent.steps(owner, Some("3"), "app", "account");
            (steps.back_to.map(str::to_owned), steps.over)
        };
        let (one, back) = (
            || Some("1".to_owned()),
            |act| Intent {
                taker: "1".into(),
                ..intent(act)
            },
        );
        assert_eq!(moves(&intent(Promote), "1"), (None, true));
        assert_eq!(moves(&intent(Promote), "2"), (None, false));
        // A state of another canary is first returned to the active version.
        assert_eq!(moves(&intent(Promote), "3"), (one(), true));
        for act in [EndCanary, RollBack] {
            assert_eq!(moves(&back(act), "2"), (one(), false));
            assert_eq!(moves(&back(act), "1"), (None, false));
            assert_eq!(moves(&back(act), "3"), (None, false));
        }
        for (percent, meant) in [(100, true), (0, false)] {
            let mut share = intent(BeginCanary);
            share.canary = Some(canary(percent));
            assert_eq!(moves(&share, "1"), (None, meant));
            assert_eq!(moves(&share, "2"), (one().filter(|_| !meant), false));
            assert_eq!(moves(&share, "3"), (one(), meant));
        }
    }

    #[test]
    fn cut_off_changes_finish_or_undo() {
        use VersionAct::{BeginCanary, EndCanary, Promote, RollBack};
        let well = TakerFacts {
            loads: true,
            granted: true,
            quarantined: false,
        };
        for act in [Promote, BeginCanary, EndCanary, RollBack] {
            assert_eq!(resolve(&intent(act), well), Resolution::Finish, "{act:?}");
        }
        for facts in [
            TakerFacts { loads: false, ..well },
            TakerFacts { granted: false, ..well },
        ] {
            for act in [Promote, BeginCanary, RollBack] {
                assert_eq!(resolve(&intent(act), facts), Resolution::Undo, "{act:?}");
            }
            assert_eq!(resolve(&intent(EndCanary), facts), Resolution::Finish);
        }
        let quarantined = TakerFacts {
            quarantined: true,
            ..well
        };
        assert_eq!(resolve(&intent(Promote), quarantined), Resolution::Finish);
        assert_eq!(resolve(&intent(RollBack), quarantined), Resolution::Undo);
        let mut follows = intent(BeginCanary);
        follows.canary = Some(canary(0));
        let ungranted = TakerFacts { granted: false, ..well };
        assert_eq!(resolve(&follows, ungranted), Resolution::Finish);
    }

    #[test]
    fn roll_backs_walk_the_line_of_active_versions() {
        let line = |steps: &[(&str, Option<bool>)]| -> Option<String> {
            let steps: Vec<_> = steps
                .iter()
                .map(|(version, rolled_back)| Activation {
                    version: (*version).to_owned(),
                    rolled_back: *rolled_back,
                })
                .collect();
            active_before(&steps).map(str::to_owned)
        };
        let (ahead, back) = (Some(false), Some(true));
        assert_eq!(line(&[]), None);
        assert_eq!(line(&[("1", ahead)]), None);
        assert_eq!(line(&[("1", ahead), ("2", ahead), ("3", ahead)]).as_deref(), Some("2"));
        // The second one goes further back, and does not return to 3.
        assert_eq!(
            line(&[("1", ahead), ("2", ahead), ("3", ahead), ("2", back)]).as_deref(),
            Some("1")
        );
        assert_eq!(line(&[("1", ahead), ("2", ahead), ("1", back)]), None);
        // A person promoted the old one: a rollback from it activates the version that served before.
        assert_eq!(line(&[("1", ahead), ("2", ahead), ("1", ahead)]).as_deref(), Some("2"));
        assert_eq!(line(&[("1", ahead), ("2", ahead), ("2", ahead)]).as_deref(), Some("1"));
        // Old databases do not store which it was.
        assert_eq!(line(&[("1", None), ("2", None), ("1", None)]), None);
    }

    #[test]
    fn a_share_is_about_as_large_as_it_says() {
        let served = (0..10_000)
            .filter(|n| canary(10).serves("tiktok", &format!("account-{n}")))
            .count();
        assert!((800..1_200).contains(&served), "{served}");
    }

    #[test]
    fn one_trap_is_enough_unless_the_operator_allows_more() {
        let now = Timestamp::from_millis(1);
        let verdict = judge(&canary(10), &figures(1, 1, 1), &figures(0, 0, 0), now);
        assert_eq!(
            verdict,
            CanaryVerdict::RollBack("crashed in 1 of 1 calls (0 allowed)".into())
        );
        let mut patient = canary(10);
        patient.rule.crashes = 1;
        assert_eq!(
            judge(&patient, &figures(1, 1, 1), &figures(0, 0, 0), now),
            CanaryVerdict::Bakes
        );
    }

    #[test]
    fn failures_compare_with_active_version() {
        let now = Timestamp::from_millis(1);
        let judged = |failed, of_active| judge(&canary(10), &figures(100, failed, 0), &figures(100, of_active, 0), now);
        assert_eq!(judged(5, 0), CanaryVerdict::Bakes);
        assert!(matches!(judged(6, 0), CanaryVerdict::RollBack(_)));
        // The platform fails for both.
        assert_eq!(judged(45, 40), CanaryVerdict::Bakes);
        // Too few for a decision.
        assert_eq!(
            judge(&canary(10), &figures(19, 19, 0), &figures(100, 0, 0), now),
            CanaryVerdict::Bakes
        );
    }

    #[test]
    fn it_holds_when_its_time_is_over_and_not_before() {
        let hour = 3_600_000;
        let judged = |ms| {
            judge(
                &canary(10),
                &figures(20, 0, 0),
                &figures(0, 0, 0),
                Timestamp::from_millis(ms),
            )
        };
        assert_eq!(judged(hour - 1), CanaryVerdict::Bakes);
        assert_eq!(judged(hour), CanaryVerdict::Held);
        // An hour without calls proves nothing.
        let idle = judge(
            &canary(10),
            &figures(0, 0, 0),
            &figures(0, 0, 0),
            Timestamp::from_millis(hour),
        );
        assert_eq!(idle, CanaryVerdict::Bakes);
    }

    #[test]
    fn durations_round_to_powers_of_two() {
        let figures = figures(100, 0, 0);
        assert_eq!(figures.within(0.5), Some(Duration::from_micros(256)));
        assert_eq!(Figures::default().within(0.99), None);
    }
}
