//! Translation edit rate (Snover et al., 2006) as the package pyter computes it, which scores WebNLG and DART: whole runs
//! of equal words may be shifted, greedily, and no beam or limit holds.

use super::ngram::Words;

/// Edits and shifts that turn `hyp` into `reference`, by the reference's length. None for a reference without a word.
pub fn ter(hyp: &[&str], reference: &[&str]) -> Option<f64> {
    if reference.is_empty() {
        return None;
    }
    // Numbers in the order of the words: of equally good shifts the package takes that with the largest list of words.
    let mut sorted: Vec<&str> = hyp.iter().chain(reference).copied().collect();
    sorted.sort_unstable();
    let mut numbers = Words::default();
    numbers.number(sorted);
    let mut hyp = numbers.number(hyp.iter().copied());
    let reference = numbers.number(reference.iter().copied());
    let mut shifts = 0;
    let mut distance = Distance::new(&reference);
    loop {
        match best_shift(&hyp, &reference, &mut distance) {
            Some((gain, shifted)) if gain > 0 => hyp = shifted,
            _ => break,
        }
        shifts += 1;
    }
    Some((shifts + distance.of(&hyp)) as f64 / reference.len() as f64)
}

/// The shift that lessens the distance most, and by how much.
fn best_shift(hyp: &[u32], reference: &[u32], distance: &mut Distance<'_>) -> Option<(i64, Vec<u32>)> {
    let now = distance.of(hyp) as i64;
    let mut best: Option<(i64, Vec<u32>)> = None;
    for from in 0..hyp.len() {
        for to in (0..reference.len()).filter(|to| *to != from) {
            let equal = hyp[from..]
                .iter()
                .zip(&reference[to..])
                .take_while(|(h, r)| h == r)
                .count();
            if equal == 0 {
                continue;
            }
            let mut shifted = [&hyp[..from], &hyp[from + equal..]].concat();
            let at = to.min(shifted.len());
            shifted.splice(at..at, hyp[from..from + equal].iter().copied());
            let found = (now - distance.of(&shifted) as i64, shifted);
            if best.as_ref().is_none_or(|best| found > *best) {
                best = Some(found);
            }
        }
    }
    best
}

/// Levenshtein's distance to one reference. Rows are kept for the words that a list begins with as the one before did.
struct Distance<'a> {
    reference: &'a [u32],
    words: Vec<u32>,
    rows: Vec<Vec<usize>>,
}

impl<'a> Distance<'a> {
    fn new(reference: &'a [u32]) -> Self {
        Self {
            reference,
            words: Vec::new(),
            rows: vec![(0..=reference.len()).collect()],
        }
    }

    fn of(&mut self, words: &[u32]) -> usize {
        let same = self.words.iter().zip(words).take_while(|(a, b)| a == b).count();
        self.rows.truncate(same + 1);
        for word in &words[same..] {
            let above = &self.rows[self.rows.len() - 1];
            let mut row = Vec::with_capacity(above.len());
            row.push(above[0] + 1);
            for (j, reference) in self.reference.iter().enumerate() {
                let other = usize::from(word != reference);
                row.push((above[j + 1] + 1).min(row[j] + 1).min(above[j] + other));
            }
            self.rows.push(row);
        }
        self.words = words.to_vec();
        self.rows[words.len()][self.reference.len()]
    }
}

#[cfg(test)]
mod tests {
    use super::ter;

    /// The example of the package's own documentation.
    #[test]
    fn shifts_cost_one() {
        let words = |text: &'static str| text.split(' ').collect::<Vec<_>>();
        let reference = words("SAUDI ARABIA denied THIS WEEK information published in the AMERICAN new york times");
        let hyp = words("THIS WEEK THE SAUDIS denied information published in the new york times");
        assert!((ter(&hyp, &reference).unwrap() - 4.0 / 13.0).abs() < 1e-12);
        assert_eq!(ter(&[], &reference), Some(1.0));
        assert_eq!(ter(&hyp, &[]), None);
    }
}
