//! Server-sent events, read from the pieces of a response as they come.

/// One event.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Event {
    /// `event:`; empty when it has no name.
    pub name: String,
    /// `id:` of this event.
    pub id: Option<String>,
    /// The `data:` lines, with a line end between two.
    pub data: Vec<u8>,
}

/// Most bytes of one event; a server that sends more is none of ours.
const MOST: usize = 64 << 20;

/// An event that is too long.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("an event of more than {} MiB", MOST >> 20)]
pub struct TooLong;

/// Puts events together.
#[derive(Debug, Default)]
pub struct Reader {
    /// The line that is not complete.
    line: Vec<u8>,
    /// Whether the last byte was a carriage return, after which a line feed ends no second line.
    returned: bool,
    event: Event,
    has_data: bool,
}

impl Reader {
    /// The events that these bytes complete.
    ///
    /// # Errors
    /// [`TooLong`]; the stream is of no use then.
    pub fn feed(&mut self, bytes: &[u8]) -> Result<Vec<Event>, TooLong> {
        let mut events = Vec::new();
        for byte in bytes {
            match byte {
                b'\n' if self.returned => self.returned = false,
                b'\n' | b'\r' => {
                    self.returned = *byte == b'\r';
                    let line = std::mem::take(&mut self.line);
                    events.extend(self.take_line(&line));
                }
                byte => {
                    self.returned = false;
                    self.line.push(*byte);
                    if self.line.len() + self.event.data.len() > MOST {
                        return Err(TooLong);
                    }
                }
            }
        }
        Ok(events)
    }

    fn take_line(&mut self, line: &[u8]) -> Option<Event> {
        if line.is_empty() {
            self.has_data = false;
            let event = std::mem::take(&mut self.event);
            return (event != Event::default()).then_some(event);
        }
        let colon = line.iter().position(|byte| *byte == b':').unwrap_or(line.len());
        let (field, value) = (&line[..colon], line.get(colon + 1..).unwrap_or_default());
        let value = value.strip_prefix(b" ").unwrap_or(value);
        match field {
            b"data" => {
                if self.has_data {
                    self.event.data.push(b'\n');
                }
                self.has_data = true;
                self.event.data.extend_from_slice(value);
            }
            b"event" => self.event.name = String::from_utf8_lossy(value).into_owned(),
            b"id" => self.event.id = Some(String::from_utf8_lossy(value).into_owned()),
            // Comments keep the connection alive; other fields are not for us.
            _ => {}
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event(name: &str, id: Option<&str>, data: &str) -> Event {
        Event { name: name.into(), id: id.map(str::to_owned), data: data.into() }
    }

    #[test]
    fn events_come_out_the_same_however_they_are_cut() {
        let stream =
            ": hello\n\nid: 5\ndata: one\ndata:two\ndata\n\nid:9\r\nevent: end\r\ndata: \r\n\r\ndata:  x\r\r";
        let want =
            vec![event("", Some("5"), "one\ntwo\n"), event("end", Some("9"), ""), event("", None, " x")];
        for size in 1..=stream.len() {
            let mut reader = Reader::default();
            let pieces = stream.as_bytes().chunks(size);
            let got: Vec<Event> = pieces.flat_map(|piece| reader.feed(piece).expect("short")).collect();
            assert_eq!(got, want, "in pieces of {size}");
        }
    }

    #[test]
    fn an_event_without_end_is_not_collected_for_ever() {
        let mut reader = Reader::default();
        let piece = vec![b'x'; 1 << 20];
        let failed = (0..100).find(|_| reader.feed(&piece).is_err());
        assert_eq!(failed, Some(64));
    }
}
