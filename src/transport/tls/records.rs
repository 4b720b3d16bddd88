//! Where one TLS record ends and the next begins, without looking inside.

/// Where the boundaries between TLS records are: five bytes of header, the last two of which say
/// how many follow.
#[derive(Default)]
pub(super) struct Records {
    header: [u8; 5],
    seen: usize,
    body: usize,
}

impl Records {
    /// How many of `bytes` belong to the present record, and whether it ends there.
    pub(super) fn next(&mut self, bytes: &[u8]) -> (usize, bool) {
        let mut used = 0;
        for (&byte, place) in bytes.iter().zip(&mut self.header[self.seen..]) {
            *place = byte;
            used += 1;
        }
        if used > 0 {
            self.seen += used;
            self.body = usize::from(u16::from_be_bytes([self.header[3], self.header[4]]));
        }
        if self.seen < self.header.len() {
            return (used, false);
        }
        let body = self.body.min(bytes.len() - used);
        self.body -= body;
        let whole = self.body == 0;
        if whole {
            self.seen = 0;
        }
        (used + body, whole)
    }
}
