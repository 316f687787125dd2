//! Metrics over pairs of (predicted class, true class).

use std::collections::BTreeMap;

/// Share of right predictions; `None` for no examples.
pub fn accuracy(pairs: &[(usize, usize)]) -> Option<f64> {
    let right = pairs.iter().filter(|(p, l)| p == l).count();
    (!pairs.is_empty()).then(|| right as f64 / pairs.len() as f64)
}

/// F1 of class 1 against all others. 0 where neither a prediction nor a label is positive, as scikit-learn's
/// `zero_division` default has it; `None` for no examples.
pub fn f1(pairs: &[(usize, usize)]) -> Option<f64> {
    let both = pairs.iter().filter(|&&(p, l)| p == 1 && l == 1).count();
    let either = pairs
        .iter()
        .map(|&(p, l)| usize::from(p == 1) + usize::from(l == 1))
        .sum::<usize>();
    match (pairs.is_empty(), either) {
        (true, _) => None,
        (false, 0) => Some(0.0),
        (false, _) => Some(2.0 * both as f64 / either as f64),
    }
}

/// Matthews correlation coefficient, in Gorodkin's form for any number of classes.
/// 0 where predictions or labels are all one class, as in scikit-learn; `None` for no examples.
pub fn matthews(pairs: &[(usize, usize)]) -> Option<f64> {
    if pairs.is_empty() {
        return None;
    }
    // Per class: how often predicted, how often true. Integers keep a constant's variance exactly 0.
    let mut counts: BTreeMap<usize, (i128, i128)> = BTreeMap::new();
    for &(p, l) in pairs {
        counts.entry(p).or_default().0 += 1;
        counts.entry(l).or_default().1 += 1;
    }
    let n = pairs.len() as i128;
    let right = pairs.iter().filter(|(p, l)| p == l).count() as i128;
    let dot = |f: fn(&(i128, i128)) -> i128| counts.values().map(f).sum::<i128>();
    let covariance = n * right - dot(|&(p, l)| p * l);
    let predicted = n * n - dot(|&(p, _)| p * p);
    let labelled = n * n - dot(|&(_, l)| l * l);
    if predicted == 0 || labelled == 0 {
        return Some(0.0);
    }
    Some(covariance as f64 / ((predicted as f64).sqrt() * (labelled as f64).sqrt()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_examples_is_undefined() {
        assert_eq!((accuracy(&[]), f1(&[]), matthews(&[])), (None, None, None));
    }

    #[test]
    fn worked_by_hand() {
        // Three positives, two found, one false alarm: precision 2/3, recall 2/3.
        let pairs = [(1, 1), (1, 1), (0, 1), (1, 0), (0, 0), (0, 0)];
        assert_eq!(accuracy(&pairs), Some(4.0 / 6.0));
        assert_eq!(f1(&pairs), Some(2.0 / 3.0));
        // (2*2 - 1*1) / (3*3)
        assert!((matthews(&pairs).unwrap() - 1.0 / 3.0).abs() < 1e-15);
    }
}
