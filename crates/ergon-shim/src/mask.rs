//! Secrets in what a command prints are masked, however its output comes in pieces.
//!
//! One automaton knows all texts that a secret may show itself in. It reads each byte once, and holds back only bytes
//! that may be the beginning of one of these texts: what has none of them passes as it comes.

mod encodings;

use std::collections::VecDeque;
use std::sync::Arc;

/// What stands in the place of a secret.
const MASK: &[u8] = b"***";
/// The most states of the automaton. A state has 24 bytes.
const MOST_STATES: usize = 512 << 10;

/// All texts to look for, as a trie with links from each text to the longest one that its end begins.
pub(crate) struct Secrets {
    states: Vec<State>,
    /// The children of the root, by byte.
    first: Box<[u32; 256]>,
}

/// One byte of a text to look for, after those that lead here.
#[derive(Clone, Copy, Default)]
struct State {
    byte: u8,
    child: u32,
    sibling: u32,
    /// Where to go on when the next byte does not follow here.
    fail: u32,
    depth: u32,
    /// How many bytes the longest text has that ends here; 0 where none does.
    longest: u32,
}

impl Secrets {
    /// Those with these values; none where there is nothing to mask.
    pub(crate) fn of(values: &[Vec<u8>]) -> Option<Arc<Self>> {
        let mut secrets = Self { states: vec![State::default()], first: Box::new([0; 256]) };
        let texts = encodings::all(values);
        for text in &texts {
            if secrets.states.len() + text.len() <= MOST_STATES {
                secrets.add(text);
            }
        }
        secrets.link();
        (secrets.states.len() > 1).then(|| Arc::new(secrets))
    }

    /// Whether one of them is in a text.
    pub(crate) fn are_in(&self, text: &[u8]) -> bool {
        let mut at = 0;
        text.iter().any(|byte| {
            at = self.next(at, *byte);
            self.states[at as usize].longest > 0
        })
    }

    /// A text without them.
    pub(crate) fn mask(self: &Arc<Self>, text: &str) -> String {
        let mut masker = Masker::new(Arc::clone(self));
        let mut out = Vec::new();
        masker.feed(text.as_bytes(), &mut out);
        masker.finish(&mut out);
        String::from_utf8_lossy(&out).into_owned()
    }

    fn add(&mut self, text: &[u8]) {
        let mut at = 0;
        for byte in text {
            at = match self.child(at, *byte) {
                0 => self.grow(at, *byte),
                child => child,
            };
        }
        self.states[at as usize].longest = self.states[at as usize].depth;
    }

    fn grow(&mut self, parent: u32, byte: u8) -> u32 {
        let new = u32::try_from(self.states.len()).unwrap_or(0);
        let State { child, depth, .. } = self.states[parent as usize];
        self.states.push(State { byte, sibling: child, depth: depth + 1, ..State::default() });
        self.states[parent as usize].child = new;
        if parent == 0 {
            self.first[byte as usize] = new;
        }
        new
    }

    fn child(&self, at: u32, byte: u8) -> u32 {
        if at == 0 {
            return self.first[byte as usize];
        }
        let mut child = self.states[at as usize].child;
        while child != 0 && self.states[child as usize].byte != byte {
            child = self.states[child as usize].sibling;
        }
        child
    }

    /// Links the states, from the shortest texts to the longest.
    fn link(&mut self) {
        let mut queue = VecDeque::from([0]);
        while let Some(parent) = queue.pop_front() {
            let mut child = self.states[parent as usize].child;
            while child != 0 {
                let State { byte, sibling, .. } = self.states[child as usize];
                let fail = if parent == 0 { 0 } else { self.next(self.states[parent as usize].fail, byte) };
                let longest = self.states[fail as usize].longest;
                let state = &mut self.states[child as usize];
                state.fail = fail;
                state.longest = state.longest.max(longest);
                queue.push_back(child);
                child = sibling;
            }
        }
    }

    fn next(&self, mut at: u32, byte: u8) -> u32 {
        loop {
            match self.child(at, byte) {
                0 if at == 0 => return 0,
                0 => at = self.states[at as usize].fail,
                child => return child,
            }
        }
    }
}

/// One output that is being masked. All that any of the texts covers is masked, so that one inside or across another
/// leaves nothing behind.
pub(crate) struct Masker {
    secrets: Arc<Secrets>,
    at: u32,
    /// What was read and is not written yet: it may be the beginning of a secret.
    held: VecDeque<u8>,
    /// Where `held` begins in the whole output.
    start: u64,
    /// The parts of `held` that are secrets, and may begin before it.
    covered: VecDeque<(u64, u64)>,
    /// The last byte that was written stood in a secret.
    in_secret: bool,
}

impl Masker {
    pub(crate) fn new(secrets: Arc<Secrets>) -> Self {
        Self { secrets, at: 0, held: VecDeque::new(), start: 0, covered: VecDeque::new(), in_secret: false }
    }

    /// Reads a piece, and writes what of it can be written.
    pub(crate) fn feed(&mut self, piece: &[u8], out: &mut Vec<u8>) {
        for byte in piece {
            self.held.push_back(*byte);
            self.at = self.secrets.next(self.at, *byte);
            let State { depth, longest, .. } = self.secrets.states[self.at as usize];
            if longest > 0 {
                self.cover(u64::from(longest));
            }
            self.release(depth as usize, out);
        }
    }

    /// Writes what was held back: nothing follows.
    pub(crate) fn finish(&mut self, out: &mut Vec<u8>) {
        self.release(0, out);
        self.at = 0;
    }

    /// The last bytes that were read are a secret.
    fn cover(&mut self, length: u64) {
        let end = self.start + self.held.len() as u64;
        let mut from = end - length;
        while let Some((start, _)) = self.covered.pop_back_if(|(_, end)| *end >= from) {
            from = from.min(start);
        }
        self.covered.push_back((from, end));
    }

    /// Writes all but the last bytes.
    fn release(&mut self, keep: usize, out: &mut Vec<u8>) {
        while self.held.len() > keep {
            let Some(byte) = self.held.pop_front() else { return };
            while self.covered.pop_front_if(|(_, end)| *end <= self.start).is_some() {}
            let is_secret = self.covered.front().is_some_and(|(start, _)| *start <= self.start);
            match (is_secret, self.in_secret) {
                (true, false) => out.extend_from_slice(MASK),
                (true, true) => {}
                (false, _) => out.push(byte),
            }
            self.in_secret = is_secret;
            self.start += 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn masked(secrets: &[&[u8]], pieces: &[&[u8]]) -> String {
        let values: Vec<Vec<u8>> = secrets.iter().map(|secret| secret.to_vec()).collect();
        let Some(secrets) = Secrets::of(&values) else {
            return String::from_utf8_lossy(&pieces.concat()).into_owned();
        };
        let mut masker = Masker::new(secrets);
        let mut out = Vec::new();
        for piece in pieces {
            masker.feed(piece, &mut out);
        }
        masker.finish(&mut out);
        String::from_utf8_lossy(&out).into_owned()
    }

    #[test]
    fn secrets_are_masked_wherever_they_are_split() {
        #[expect(clippy::type_complexity, reason = "a table")]
        let table: [(&[&[u8]], &[&[u8]], &str); 9] = [
            (&[b"hunter2"], &[b"it is hunter2!"], "it is ***!"),
            (&[b"hunter2"], &[b"it is hun", b"ter", b"2!\n"], "it is ***!\n"),
            (&[b"hunter2"], &[b"hunter3 hunter"], "hunter3 hunter"),
            (&[b"hunter2"], &[b"hunter2hunter2"], "***"),
            (&[b"abcabd"], &[b"abcabcabd"], "abc***"),
            (&[b"secret", b"cretin"], &[b"secretin"], "***"),
            (&[b"one-secret", b"secret"], &[b"a secret, one-secret"], "a ***, ***"),
            (&[b""], &[b"text"], "text"),
            (&[b"ab"], &[b"ab"], "ab"),
        ];
        for (secrets, pieces, wanted) in table {
            assert_eq!(masked(secrets, pieces), wanted, "{pieces:?}");
        }
    }

    #[test]
    fn only_what_may_be_a_secret_waits() {
        let secrets = Secrets::of(&[b"hunter2".to_vec()]).unwrap();
        let mut masker = Masker::new(secrets);
        for (piece, wanted) in [
            ("a line\n", "a line\n"),
            ("hunt", ""),
            ("er", ""),
            ("s\n", "hunters\n"),
            ("h", ""),
            ("unter2", ""),
        ] {
            let mut out = Vec::new();
            masker.feed(piece.as_bytes(), &mut out);
            assert_eq!(String::from_utf8_lossy(&out), wanted, "{piece}");
            assert!(masker.held.len() <= 8);
        }
        let mut out = Vec::new();
        masker.finish(&mut out);
        assert_eq!(out, MASK);
    }

    /// A bad case for whoever compares at each place again.
    #[test]
    fn time_and_memory_are_bounded() {
        let secrets = Secrets::of(&[vec![b'a'; 60_000]]).unwrap();
        assert!(secrets.states.len() <= MOST_STATES);
        let mut masker = Masker::new(secrets);
        let start = std::time::Instant::now();
        let mut out = Vec::new();
        for _ in 0..20 {
            masker.feed(&vec![b'a'; 59_999], &mut out);
            masker.feed(b"b", &mut out);
            assert!(masker.held.len() <= 1 << 20);
        }
        masker.finish(&mut out);
        assert_eq!(out.len(), 20 * 60_000);
        assert!(start.elapsed().as_secs() < 20, "{:?}", start.elapsed());
    }

    proptest! {
        #[test]
        fn no_encoding_of_a_secret_is_left(
            secret in "[ -~\n\u{e4}\u{20ac}]{3,40}",
            before in "[a-z \n]{0,20}",
            after in "[a-z \n]{0,20}",
            cuts in prop::collection::vec(0usize..400, 0..6),
        ) {
            prop_assume!(secret.trim().len() >= 3);
            for (kind, shown) in encodings::samples(secret.as_bytes()) {
                let text = [before.as_bytes(), &shown, after.as_bytes()].concat();
                let mut places: Vec<usize> = cuts.iter().map(|cut| (*cut).min(text.len())).collect();
                places.extend([0, text.len()]);
                places.sort_unstable();
                let pieces: Vec<&[u8]> = places.windows(2).map(|pair| &text[pair[0]..pair[1]]).collect();
                let told = masked(&[secret.as_bytes()], &pieces);
                prop_assert!(told.contains("***"), "{kind}: {told:?}");
                prop_assert!(!told.as_bytes().windows(shown.len()).any(|part| part == shown), "{kind}: {told:?}");
                prop_assert_eq!(&told, &masked(&[secret.as_bytes()], &[&text]), "{}", kind);
            }
        }

        #[test]
        fn what_has_no_secret_is_as_it_was(text in "[a-f0-9 \n]{0,200}", cut in 0usize..200) {
            let cut = cut.min(text.len());
            let pieces = [&text.as_bytes()[..cut], &text.as_bytes()[cut..]];
            prop_assert_eq!(masked(&[b"XYZ-secret"], &pieces), text);
        }

        #[test]
        fn encoded_within_other_data_it_is_masked_too(secret in "[ -~]{8,40}", before in "[ -~]{0,5}", after in "[ -~]{0,5}") {
            use base64::Engine as _;
            let whole = format!("{before}{secret}{after}");
            let encoded = base64::engine::general_purpose::STANDARD.encode(&whole);
            let told = masked(&[secret.as_bytes()], &[encoded.as_bytes()]);
            prop_assert!(told.contains("***"), "{}", told);
            // What is left are the characters around, with at most 5 bits of it at each side.
            let left = told.replace("***", "").len();
            prop_assert!(left <= (before.len() + after.len()) * 4 / 3 + 7, "{} {}", told, left);
        }
    }
}
