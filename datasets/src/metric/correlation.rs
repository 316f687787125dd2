//! Correlations over pairs of (prediction, score).

/// Pearson's linear correlation. `None` for fewer than two pairs, where one side is constant, and where a value is not
/// finite (scipy: NaN or an error).
pub fn pearson(pairs: &[(f64, f64)]) -> Option<f64> {
    let (x, y): (Vec<f64>, Vec<f64>) = pairs.iter().copied().unzip();
    let (x, y) = (unit_deviations(&x)?, unit_deviations(&y)?);
    let r: f64 = x.iter().zip(&y).map(|(a, b)| a * b).sum();
    // Rounding may carry a perfect correlation past 1.
    r.is_finite().then(|| r.clamp(-1.0, 1.0))
}

/// Spearman's rank correlation: Pearson's over ranks, equal values sharing their mean rank. `None` as for [`pearson`].
pub fn spearman(pairs: &[(f64, f64)]) -> Option<f64> {
    if pairs.iter().any(|(a, b)| !a.is_finite() || !b.is_finite()) {
        return None;
    }
    let (x, y): (Vec<f64>, Vec<f64>) = pairs.iter().copied().unzip();
    let ranked: Vec<(f64, f64)> = ranks(&x).into_iter().zip(ranks(&y)).collect();
    pearson(&ranked)
}

/// Deviations from the mean, scaled to unit length; `None` if there are none. The largest is scaled to 1 before squaring,
/// so that neither tiny nor huge values lose their squares.
fn unit_deviations(values: &[f64]) -> Option<Vec<f64>> {
    let first = *values.first()?;
    // Compared as they are: the mean of equal values may differ from them by rounding.
    if values.iter().all(|&v| v == first) || values.iter().any(|v| !v.is_finite()) {
        return None;
    }
    let mean = pairwise_sum(values) / values.len() as f64;
    let largest = values.iter().fold(0.0, |m: f64, v| m.max((v - mean).abs()));
    let scaled: Vec<f64> = values.iter().map(|v| (v - mean) / largest).collect();
    let norm = scaled.iter().map(|v| v * v).sum::<f64>().sqrt();
    Some(scaled.into_iter().map(|v| v / norm).collect())
}

/// The sum in numpy's order: halves down to 128 values, those in eight running sums. For nearly constant predictions the
/// last bit of the mean decides the third digit of the correlation, so equality with scipy hangs on it.
fn pairwise_sum(values: &[f64]) -> f64 {
    match values.len() {
        0..8 => values.iter().sum(),
        8..=128 => {
            let (eights, rest) = values.as_chunks::<8>();
            let r = eights
                .iter()
                .skip(1)
                .fold(eights[0], |r, e| std::array::from_fn(|i| r[i] + e[i]));
            let sum = ((r[0] + r[1]) + (r[2] + r[3])) + ((r[4] + r[5]) + (r[6] + r[7]));
            rest.iter().fold(sum, |sum, v| sum + v)
        }
        n => {
            let (left, right) = values.split_at(n / 2 / 8 * 8);
            pairwise_sum(left) + pairwise_sum(right)
        }
    }
}

/// Ranks from 1; values that are equal all get the mean of their places.
fn ranks(values: &[f64]) -> Vec<f64> {
    let mut order: Vec<usize> = (0..values.len()).collect();
    order.sort_by(|&a, &b| values[a].total_cmp(&values[b]));
    let mut ranks = vec![0.0; values.len()];
    let mut place = 0;
    // By `==`, not by total order: -0.0 and 0.0 tie.
    for ties in order.chunk_by(|&a, &b| values[a] == values[b]) {
        let mean = place as f64 + (ties.len() as f64 + 1.0) / 2.0;
        ties.iter().for_each(|&i| ranks[i] = mean);
        place += ties.len();
    }
    ranks
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ties_share_their_mean_rank() {
        assert_eq!(ranks(&[5.0, 1.0, 5.0, 0.0, 5.0]), [4.0, 2.0, 4.0, 1.0, 4.0]);
        assert_eq!(ranks(&[0.0, -0.0, 1.0]), [1.5, 1.5, 3.0]);
    }

    #[test]
    fn undefined_where_there_is_nothing_to_correlate() {
        for pairs in [
            vec![],
            vec![(1.0, 2.0)],
            vec![(1.0, 2.0), (1.0, 3.0)],
            vec![(f64::NAN, 1.0), (2.0, 3.0)],
        ] {
            assert_eq!((pearson(&pairs), spearman(&pairs)), (None, None), "{pairs:?}");
        }
    }
}
