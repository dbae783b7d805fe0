//! Why a component is not taken, and how a call can end other than well.

use std::fmt;
use std::time::Duration;

use weir_domain::delivery::Verdict;
use weir_domain::limits;
use weir_domain::manifest::ManifestError;
use weir_domain::message::MessageError;
use weir_domain::policy::CallRefusal;

/// Why a component is not taken. Each says what would be taken.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LoadError {
    /// Nothing was sent.
    #[error("the file is empty; send the bytes of a component")]
    Empty,
    /// Larger than a component may be.
    #[error("the file has {bytes} bytes, and {} are allowed", limits::COMPONENT_BYTES)]
    TooLarge {
        /// How large it is.
        bytes: usize,
    },
    /// It is something else than a component.
    #[error("the file is no component: {what}")]
    NotAComponent {
        /// What it looks like, and what to do about it.
        what: &'static str,
    },
    /// Its bytes are no valid WebAssembly, or use what this host does not run.
    #[error("the component is not valid here: {detail}")]
    Invalid {
        /// The engine's words.
        detail: String,
    },
    /// So much code in one place that compiling it would hold up the host.
    #[error("the component has {count} {what}, and {limit} are allowed")]
    TooComplex {
        /// What there is too much of.
        what: &'static str,
        /// How much.
        count: usize,
        /// The bound.
        limit: usize,
    },
    /// It wants something that connectors do not get.
    #[error(
        "the component asks for {import}; a connector gets http, state, log and clock of weir:connector and nothing else"
    )]
    Import {
        /// The import's name.
        import: String,
    },
    /// It lacks something that every connector has.
    #[error(
        "the component does not export {export}; it must implement the world weir:connector/connector@0.2.0, or that of an older version"
    )]
    NoExport {
        /// The export's name.
        export: String,
    },
    /// An import or export is there, in another shape.
    #[error("the component's {interface} is not that of weir:connector: {detail}")]
    Interface {
        /// Which.
        interface: String,
        /// The engine's words.
        detail: String,
    },
    /// It needs more than one instance gets.
    #[error("the component needs {needed} {what}, and an instance gets {limit}")]
    Resources {
        /// Of what.
        what: &'static str,
        /// How much.
        needed: u64,
        /// The bound.
        limit: u64,
    },
    /// Its `describe` did not return.
    #[error("the component does not say what it is: {0}")]
    Describe(#[source] CallError),
    /// What it says of itself is not taken.
    #[error(transparent)]
    Manifest(#[from] ManifestError),
    /// Its `describe` says something that is not taken.
    #[error("the manifest's {part} is refused: it {reason}")]
    ManifestMember {
        /// Which member.
        part: String,
        /// What is wrong with it.
        reason: String,
    },
    /// Compiling it met a bound.
    #[error("the component takes too much to compile: {what}; split its largest functions")]
    TooMuchToCompile {
        /// Which bound.
        what: String,
    },
    /// The host's own failure.
    #[error("the component could not be compiled: {detail}")]
    Compiler {
        /// What happened.
        detail: String,
    },
}

impl From<ConversionError> for LoadError {
    fn from(bad: ConversionError) -> Self {
        let (part, reason) = bad.into_parts();
        Self::ManifestMember { part, reason }
    }
}

/// How a call ended, other than well. Each ends that call and nothing else.
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum CallError {
    /// The connector says that it could not do what it was asked.
    #[error("{}", error.detail)]
    Failed {
        /// What that means for what comes next.
        verdict: Verdict,
        /// What decided.
        error: Box<MessageError>,
    },
    /// The connector could not read what it was given; in its words.
    #[error("the connector says: {0}")]
    Answer(String),
    /// The connector broke off.
    #[error("the connector broke off: {cause}")]
    Trapped {
        /// The kind of trap, in the engine's words.
        cause: String,
        /// Where in its code, innermost first.
        backtrace: String,
    },
    /// It used up the processor time that its call has; neither waiting nor other programs count.
    #[error("the connector used {} ms of processor time, which is as much as this call may use", ran.as_millis())]
    OutOfTime {
        /// The bound.
        ran: Duration,
    },
    /// It took longer than its call may take, waiting counted. On a busy host that is nobody's fault; the call can be made again.
    #[error("the call took {} ms, which is as long as it may take; the host or the platform is slow, try again", took.as_millis())]
    TimedOut {
        /// The bound.
        took: Duration,
    },
    /// It wanted more memory or table than an instance gets, and broke off without.
    #[error("the connector wanted more {what} than the {limit} that an instance gets, and broke off")]
    OutOfMemory {
        /// `bytes of memory`, `table elements`.
        what: &'static str,
        /// The bound.
        limit: usize,
    },
    /// What it handed over is larger than is taken, or not valid.
    #[error("what the connector handed over is refused: {0}")]
    Output(String),
    /// Its honeytoken appears in what it handed over.
    #[error("the connector's honeytoken was seen in {place}")]
    Exposed {
        /// Where.
        place: &'static str,
    },
    /// A place that it named may not be called.
    #[error("what the connector named may not be called: {0}")]
    Refused(#[from] CallRefusal),
    /// The platform's rate leaves no turn.
    #[error(transparent)]
    NoTurn(#[from] TooLong),
    /// All slots are taken.
    #[error("no slot came free within {} ms: {limit} calls run", waited.as_millis())]
    Busy {
        /// How long the call waited.
        waited: Duration,
        /// How many calls may run.
        limit: usize,
    },
    /// The connector does not have this ability.
    #[error("the connector does not export {interface}")]
    NotProvided {
        /// The interface's plain name.
        interface: &'static str,
    },
}

impl CallError {
    /// Its name in metrics.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Failed { .. } => "failed",
            Self::Answer(_) => "answer",
            Self::Trapped { .. } => "trapped",
            Self::OutOfTime { .. } => "out_of_time",
            Self::TimedOut { .. } => "timed_out",
            Self::OutOfMemory { .. } => "out_of_memory",
            Self::Output(_) => "output",
            Self::Exposed { .. } => "exposed",
            Self::Refused(_) => "refused",
            Self::NoTurn(_) => "no_turn",
            Self::Busy { .. } => "busy",
            Self::NotProvided { .. } => "not_provided",
        }
    }

    /// Whether the connector crashed: it trapped, or exceeded its processor time or memory. Returning what cannot be used is no
    /// crash.
    pub fn is_crash(&self) -> bool {
        matches!(
            self,
            Self::Trapped { .. } | Self::OutOfTime { .. } | Self::OutOfMemory { .. }
        )
    }

    /// Whether the call ended for what the host or the platform lacked at that moment: it says nothing of the connector, and the
    /// same call may be made again.
    pub fn is_transient(&self) -> bool {
        matches!(self, Self::Busy { .. } | Self::TimedOut { .. } | Self::NoTurn(_))
    }

    /// Whether the connector is at fault, so that a breaker should count it.
    pub fn is_connectors_fault(&self) -> bool {
        matches!(
            self,
            Self::Answer(_)
                | Self::Trapped { .. }
                | Self::OutOfTime { .. }
                | Self::OutOfMemory { .. }
                | Self::Output(_)
                | Self::Exposed { .. }
                | Self::Refused(_)
        )
    }
}

/// The platform's rate leaves no turn within reach.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the platform's rate leaves no turn for the next {} ms", wait.as_millis())]
pub struct TooLong {
    /// How long the wait would be.
    pub wait: Duration,
}

/// A member of what a connector returned that cannot be used, and why.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct ConversionError {
    member: String,
    why: String,
}

impl ConversionError {
    pub(crate) fn new(member: impl Into<String>, why: impl Into<String>) -> Self {
        Self {
            member: member.into(),
            why: why.into(),
        }
    }

    /// The member, and what is wrong with it.
    pub(crate) fn into_parts(self) -> (String, String) {
        (self.member, self.why)
    }

    /// The same error, with the path of the enclosing member before its own.
    pub(crate) fn within(self, outer: impl fmt::Display) -> Self {
        Self {
            member: format!("{outer}.{}", self.member),
            why: self.why,
        }
    }
}

impl fmt::Display for ConversionError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.member, self.why)
    }
}

impl From<ConversionError> for CallError {
    fn from(bad: ConversionError) -> Self {
        Self::Output(bad.to_string())
    }
}
