//! Why a component cannot be loaded, and how a call can fail.

use std::fmt;
use std::time::Duration;

use weir_domain::delivery::Verdict;
use weir_domain::limits;
use weir_domain::manifest::ManifestError;
use weir_domain::message::MessageError;
use weir_domain::policy::CallRefusal;

/// Why a component cannot be loaded, and what to do about it.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LoadError {
    /// There are no bytes.
    #[error("the file is empty; send the bytes of a component")]
    Empty,
    /// It is larger than a component may be.
    #[error("the file has {bytes} bytes, and {} are allowed", limits::COMPONENT_BYTES)]
    TooLarge {
        /// Its size.
        bytes: usize,
    },
    /// The file is something else.
    #[error("the file is not a component: {what}")]
    NotAComponent {
        /// What it looks like, and what to do about it.
        what: &'static str,
    },
    /// The bytes are not valid WebAssembly, or use a feature that is off.
    #[error("the component is not valid WebAssembly, or uses a feature that is not supported: {detail}")]
    Invalid {
        /// The engine's message.
        detail: String,
    },
    /// Compiling that much code would take too long.
    #[error("the component has {count} {what}, and {limit} are allowed")]
    TooComplex {
        /// What is counted.
        what: &'static str,
        /// The count.
        count: usize,
        /// The bound.
        limit: usize,
    },
    /// It imports something that connectors may not use.
    #[error("the component imports {import}; a connector may import only http, state, log and clock of weir:connector")]
    Import {
        /// The import's name.
        import: String,
    },
    /// It lacks a required export.
    #[error(
        "the component does not export {export}; it must implement the world weir:connector/connector@0.2.0, or that of an older version"
    )]
    NoExport {
        /// The export's name.
        export: String,
    },
    /// An import or export has another type.
    #[error("the component's {interface} does not match weir:connector: {detail}")]
    Interface {
        /// Its name.
        interface: String,
        /// The engine's message.
        detail: String,
    },
    /// An instance needs more than it may use.
    #[error("the component needs {needed} {what}, and an instance may use {limit}")]
    Resources {
        /// The resource.
        what: &'static str,
        /// The amount.
        needed: u64,
        /// The bound.
        limit: u64,
    },
    /// Its `describe` failed.
    #[error("the component's `describe` failed: {0}")]
    Describe(#[source] CallError),
    /// Its manifest breaks a rule.
    #[error(transparent)]
    Manifest(#[from] ManifestError),
    /// A member of its manifest is invalid.
    #[error("the manifest's {part} is invalid: it {reason}")]
    ManifestMember {
        /// The member.
        part: String,
        /// What is wrong with it.
        reason: String,
    },
    /// Compiling it exceeded a limit.
    #[error("the component takes too much to compile: {what}; split its largest functions")]
    TooMuchToCompile {
        /// The limit.
        what: String,
    },
    /// The host failed.
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

/// How a call failed. A failure ends that call and nothing else.
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum CallError {
    /// The connector returned a failure.
    #[error("{}", error.detail)]
    Failed {
        /// Whether and when to retry.
        verdict: Verdict,
        /// The failure.
        error: Box<MessageError>,
    },
    /// The connector could not read its input; its error text.
    #[error("the connector returned an error: {0}")]
    Answer(String),
    /// The connector trapped.
    #[error("the connector crashed: {cause}")]
    Trapped {
        /// The kind of trap, as the engine names it.
        cause: String,
        /// The stack, innermost frame first.
        backtrace: String,
    },
    /// It used up the processor time of its call; neither waiting nor other programs count.
    #[error("the connector used {} ms of processor time, the limit of this call", ran.as_millis())]
    OutOfTime {
        /// The bound.
        ran: Duration,
    },
    /// It used up the wall-clock time of its call, waiting included. The host or the platform is slow: the call can be
    /// retried.
    #[error("the call took {} ms, the limit of this call; the host or the platform is slow, try again", took.as_millis())]
    TimedOut {
        /// The bound.
        took: Duration,
    },
    /// It needed more memory or table elements than an instance may use, and trapped.
    #[error("the connector needs more than {limit} {what}, the limit of an instance")]
    OutOfMemory {
        /// `bytes of memory`, `table elements`.
        what: &'static str,
        /// The bound.
        limit: usize,
    },
    /// What it returned is too large, or not valid.
    #[error("the connector's output is invalid: {0}")]
    Output(String),
    /// Its honeytoken appears in its output.
    #[error("the connector's honeytoken was seen in {place}")]
    Exposed {
        /// Where it was seen.
        place: &'static str,
    },
    /// The policy refused to fetch from the location that it returned.
    #[error("the location that the connector returned may not be fetched: {0}")]
    Refused(#[from] CallRefusal),
    /// The platform's rate limit is reached.
    #[error(transparent)]
    NoTurn(#[from] TooLong),
    /// All slots are in use.
    #[error("no slot became free within {} ms: {limit} calls are running", waited.as_millis())]
    Busy {
        /// How long the call waited for one.
        waited: Duration,
        /// How many calls may run at once.
        limit: usize,
    },
    /// The connector does not export the optional interface.
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

    /// Whether the connector crashed: it trapped, or exceeded its processor time or memory. Returning what cannot be
    /// used is no crash.
    pub fn is_crash(&self) -> bool {
        matches!(
            self,
            Self::Trapped { .. } | Self::OutOfTime { .. } | Self::OutOfMemory { .. }
        )
    }

    /// Whether the call failed for lack of resources of the host or the platform: the connector did not cause that, and
    /// the call may be retried.
    pub fn is_transient(&self) -> bool {
        matches!(self, Self::Busy { .. } | Self::TimedOut { .. } | Self::NoTurn(_))
    }

    /// Whether the connector is at fault, so that a circuit breaker counts it.
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

/// The platform's rate limit allows the request only later than a call may wait.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the platform's rate limit allows this request only in {} ms, which is too long to wait", wait.as_millis())]
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
