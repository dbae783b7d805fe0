//! Log lines of a connector: sanitized, bounded, and counted once over the limit.

use weir_domain::limits;

use crate::call::data::CallData;
use crate::context::{LogLevel, LogLine};
use crate::interface::bindings::weir::connector::log::{Host, Level};
use crate::text;

impl Host for CallData {
    fn write(&mut self, level: Level, message: String) {
        self.lines = self.lines.saturating_add(1);
        if self.lines > limits::LOG_LINES || self.is_silent() {
            return;
        }
        // A line that leaks it is not written.
        if self.honeytoken.inspect("a log line", message.as_bytes()) {
            return;
        }
        let level = match level {
            Level::Debug => LogLevel::Debug,
            Level::Info => LogLevel::Info,
            Level::Warn => LogLevel::Warn,
            Level::Error => LogLevel::Error,
        };
        self.host.observer.on_log_line(&LogLine {
            connector: &self.version.name,
            version: &self.version.number,
            kind: self.kind,
            level,
            text: &text::line(&message, limits::LOG_LINE_BYTES),
        });
    }
}
