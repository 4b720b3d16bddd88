//! The limits that a payload is checked against.

use crate::DecodeError;

/// Limits of a payload from an untrusted peer.
///
/// | limit | default | error |
/// |---|---|---|
/// | [`depth`](Self::depth) | 512 levels | [`DecodeError::Depth`] |
/// | [`elements`](Self::elements) | 2 097 152 | [`DecodeError::Elements`] |
/// | [`inflated`](Self::inflated) | 16 MiB | [`DecodeError::Inflated`] |
/// | [`ratio`](Self::ratio) | 256 | [`DecodeError::Ratio`] |
/// | [`term_memory`](Self::term_memory) | 32 MiB | [`DecodeError::TermMemory`] |
/// | [`safe`](Self::safe) | `true` | [`DecodeError::Executable`] |
#[derive(Clone, Debug)]
pub struct Limits {
    pub(super) depth: usize,
    pub(super) elements: usize,
    pub(super) inflated: usize,
    pub(super) ratio: usize,
    pub(super) term_memory: usize,
    pub(super) safe: bool,
}

/// The weights of an element, a number and a byte of a packed list in [`Limits::elements`], in eighths.
pub(super) const ELEMENT: u64 = 8;
pub(super) const NUMBER: u64 = 2;
pub(super) const PACKED: u64 = 1;

/// The inflated size up to which the ratio is not checked.
const ANY_RATIO: usize = 1 << 20;

impl Limits {
    /// Sets how deeply tuples, lists and maps may nest. Default: 512 levels.
    ///
    /// Decoding into types recurses to this depth, on the stack of the decoding thread; the default needs at most 2 MiB
    /// in a debug build. Erlang has no limit. A deeper term is rejected with [`DecodeError::Depth`].
    #[must_use]
    pub fn depth(mut self, depth: usize) -> Self {
        self.depth = depth;
        self
    }

    /// Sets how many elements a term may have, itself included. Default: 2 097 152 (2 Mi).
    ///
    /// An integer of up to 64 bits and a float count as 1/4 element, a byte of a packed list (`STRING_EXT`) as 1/8, so
    /// that 16 MiB of numbers are within the default. A key of a map counts as one additional element. A term with more
    /// elements is rejected with [`DecodeError::Elements`].
    #[must_use]
    pub fn elements(mut self, elements: usize) -> Self {
        self.elements = elements;
        self
    }

    /// Sets how many bytes a compressed term may inflate to. Default: 16 MiB.
    ///
    /// A term that announces more is rejected with [`DecodeError::Inflated`] before it is inflated.
    #[must_use]
    pub fn inflated(mut self, bytes: usize) -> Self {
        self.inflated = bytes;
        self
    }

    /// Sets the maximum ratio of the inflated to the compressed size of a term. Default: 256.
    ///
    /// A term that inflates to 1 MiB or less may have any ratio. A term that announces more is rejected with
    /// [`DecodeError::Ratio`] before it is inflated. Runs of one byte reach a ratio of 1000;
    /// [`compress`](crate::compress) does not compress a term that would exceed the default.
    #[must_use]
    pub fn ratio(mut self, ratio: usize) -> Self {
        self.ratio = ratio;
        self
    }

    /// Sets how many bytes of memory the [`Term`](crate::Term)s of one decoded value may take. Default:
    /// 32 MiB.
    ///
    /// The memory is estimated before anything is allocated: 32 bytes for every term, its heap memory, and the
    /// allocator's overhead. A small map takes about 750 bytes. All `Term`s within a typed value are counted together,
    /// with the values that serde buffers (flattened fields, untagged and tagged enums) or reads without a type. A payload
    /// over the limit is rejected with [`DecodeError::TermMemory`].
    #[must_use]
    pub fn term_memory(mut self, bytes: usize) -> Self {
        self.term_memory = bytes;
        self
    }

    /// Sets whether functions and ports are rejected, anywhere in a term. Default: `true`.
    ///
    /// If `false`, they are skipped, and a [`Term`](crate::Term) keeps their encoded form.
    #[must_use]
    pub fn safe(mut self, safe: bool) -> Self {
        self.safe = safe;
        self
    }

    /// Returns how deeply tuples, lists and maps may nest.
    #[must_use]
    pub fn max_depth(&self) -> usize {
        self.depth
    }

    /// Returns how many elements a term may have.
    #[must_use]
    pub fn max_elements(&self) -> usize {
        self.elements
    }

    /// Returns how many bytes a compressed term may inflate to.
    #[must_use]
    pub fn max_inflated(&self) -> usize {
        self.inflated
    }

    /// Returns the maximum ratio of the inflated to the compressed size of a term.
    #[must_use]
    pub fn max_ratio(&self) -> usize {
        self.ratio
    }

    /// Returns how many bytes of memory the `Term`s of one decoded value may take.
    #[must_use]
    pub fn max_term_memory(&self) -> usize {
        self.term_memory
    }

    /// Returns whether functions and ports are rejected.
    #[must_use]
    pub fn is_safe(&self) -> bool {
        self.safe
    }

    /// Checks the size that a compressed term announces.
    pub(super) fn may_inflate(&self, packed: usize, plain: usize) -> Result<(), DecodeError> {
        if plain > self.inflated {
            return Err(DecodeError::Inflated {
                limit: self.inflated,
            });
        }
        if plain > ANY_RATIO.max(packed.saturating_mul(self.ratio)) {
            return Err(DecodeError::Ratio { limit: self.ratio });
        }
        Ok(())
    }
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            depth: 512,
            elements: 2 << 20,
            inflated: 16 << 20,
            ratio: 256,
            term_memory: 32 << 20,
            safe: true,
        }
    }
}
