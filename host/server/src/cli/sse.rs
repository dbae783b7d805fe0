//! A parser of server-sent events (WHATWG HTML, 9.2.6: interpreting an event stream).

/// Longest event, and line, that is accepted: above the longest that a host sends.
const EVENT_BYTES: usize = 1 << 20;

/// Turns the bytes of a stream into events.
#[derive(Debug, Default)]
pub(super) struct Parser {
    line: Vec<u8>,
    data: String,
    id: Option<String>,
    after_cr: bool,
}

/// One event.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Received {
    /// The last ID of the stream.
    pub(super) id: Option<String>,
    pub(super) data: String,
}

impl Parser {
    /// The events that end within these bytes.
    pub(super) fn feed(&mut self, bytes: &[u8]) -> Vec<Received> {
        let mut events = Vec::new();
        for &byte in bytes {
            let was_cr = std::mem::replace(&mut self.after_cr, byte == b'\r');
            match byte {
                b'\n' if was_cr => {}
                b'\n' | b'\r' => {
                    let line = std::mem::take(&mut self.line);
                    events.extend(self.end_of_line(&String::from_utf8_lossy(&line)));
                }
                byte if self.line.len() < EVENT_BYTES => self.line.push(byte),
                _ => {}
            }
        }
        events
    }

    fn end_of_line(&mut self, line: &str) -> Option<Received> {
        if line.is_empty() {
            let data = std::mem::take(&mut self.data);
            return (!data.is_empty()).then(|| Received {
                id: self.id.clone(),
                data: data.trim_end_matches('\n').to_owned(),
            });
        }
        let (field, value) = line.split_once(':').unwrap_or((line, ""));
        let value = value.strip_prefix(' ').unwrap_or(value);
        match field {
            "data" if self.data.len() + value.len() < EVENT_BYTES => {
                self.data.push_str(value);
                self.data.push('\n');
            }
            "id" if !value.contains('\0') => self.id = Some(value.to_owned()),
            // Comments, and fields that are not used.
            _ => {}
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event(id: &str, data: &str) -> Received {
        Received {
            id: Some(id.to_owned()),
            data: data.to_owned(),
        }
    }

    #[test]
    fn events_are_parsed_across_any_split() {
        let stream = b": connected\nretry: 2000\n\nid: evt_1\ndata: {\"a\":1}\n\nid:evt_2\r\ndata: x\r\ndata: y\r\n\r\n: still here\n\n";
        let wanted = vec![event("evt_1", "{\"a\":1}"), event("evt_2", "x\ny")];
        assert_eq!(Parser::default().feed(stream), wanted);
        for size in 1..stream.len() {
            let mut parser = Parser::default();
            let events: Vec<_> = stream.chunks(size).flat_map(|chunk| parser.feed(chunk)).collect();
            assert_eq!(events, wanted, "in pieces of {size}");
        }
    }

    #[test]
    fn endless_event_takes_bounded_memory() {
        let mut parser = Parser::default();
        for _ in 0..40 {
            parser.feed(&[b'x'; 64 << 10]);
        }
        assert!(parser.line.len() <= EVENT_BYTES);
    }
}
