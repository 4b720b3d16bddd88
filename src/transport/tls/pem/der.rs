//! The outermost value of a DER encoding.

/// Returns the length of a DER sequence, header included, as its header states it; `None` if it is no sequence.
pub(super) fn length(der: &[u8]) -> Option<usize> {
    let (tag, rest) = der.split_first()?;
    let (&first, rest) = rest.split_first()?;
    if *tag != 0x30 {
        return None;
    }
    if first < 0x80 {
        return Some(2 + usize::from(first));
    }
    let count = usize::from(first & 0x7f);
    let bytes = rest.get(..count)?;
    if !(1..=4).contains(&count) {
        return None;
    }
    let length = bytes
        .iter()
        .fold(0_usize, |length, &byte| length << 8 | usize::from(byte));
    length.checked_add(2 + count)
}

/// Returns true if a sequence begins with the integer 3, the version of PKCS #12.
pub(super) fn is_pkcs12(text: &[u8]) -> bool {
    const VERSION: &[u8] = b"\x02\x01\x03";
    let [0x30, first, ..] = *text else {
        return false;
    };
    let skipped = 2 + if first > 0x80 {
        usize::from(first & 0x7f)
    } else {
        0
    };
    text.get(skipped..)
        .is_some_and(|it| it.starts_with(VERSION))
}
