//! ROUGE-L as COCO's caption evaluation computes it.

use super::generated::Segment;

/// What recall weighs against precision.
const BETA: f64 = 1.2;

/// ROUGE-L of one segment, its words parted by single spaces: the F measure of the best precision and the best recall, which may
/// come from different references. An empty text is one empty word, as in the tool.
pub fn score(segment: &Segment) -> f64 {
    let words = |text: &str| text.split(' ').map(str::to_owned).collect::<Vec<String>>();
    let hyp = words(&segment.hyp);
    let (mut precision, mut recall) = (0.0_f64, 0.0_f64);
    for reference in &segment.refs {
        let reference = words(reference);
        let common = longest_common(&hyp, &reference) as f64;
        precision = precision.max(common / hyp.len() as f64);
        recall = recall.max(common / reference.len() as f64);
    }
    if precision == 0.0 || recall == 0.0 {
        return 0.0;
    }
    (1.0 + BETA * BETA) * precision * recall / (recall + BETA * BETA * precision)
}

/// Length of the longest common subsequence.
fn longest_common<T: PartialEq>(a: &[T], b: &[T]) -> usize {
    let mut row = vec![0; b.len() + 1];
    for x in a {
        let mut diagonal = 0;
        for (j, y) in b.iter().enumerate() {
            let above = row[j + 1];
            row[j + 1] = if x == y { diagonal + 1 } else { above.max(row[j]) };
            diagonal = above;
        }
    }
    row[b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn worked_by_hand() {
        assert_eq!(longest_common(&["a", "b", "c", "d"], &["b", "x", "d", "a"]), 2);
        let segment = |hyp: &str, refs: &[&str]| Segment {
            hyp: hyp.to_owned(),
            refs: refs.iter().map(|&r| r.to_owned()).collect(),
        };
        // Precision 1 from the first reference, recall 1 from the second.
        assert_eq!(score(&segment("a b", &["a b c d", "a"])), 1.0);
        assert_eq!(score(&segment("", &["a"])), 0.0);
    }
}
