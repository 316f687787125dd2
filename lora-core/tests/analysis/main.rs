//! The analyses of Section 7: planted subspaces with known angles, random subspaces, and numpy's results (golden.json,
//! written by make_golden.py).

use lora_core::analysis::{Overlap, Svd, directions, gaussian, random_projection, update_directions};
use serde_json::Value;
use tch::{Device, Kind, Tensor};

const EXACT: f64 = 1e-6;

fn close(ours: f64, theirs: f64, what: &str) {
    let wide = EXACT * theirs.abs().max(1.0);
    assert!((ours - theirs).abs() < wide, "{what}: {ours} and {theirs}");
}

/// An A whose rows are given as a strength and a sparse unit vector.
fn rows(d: i64, rows: &[(f64, &[(i64, f64)])]) -> Tensor {
    let a = Tensor::zeros([rows.len() as i64, d], (Kind::Double, Device::Cpu));
    for (n, (strength, parts)) in rows.iter().enumerate() {
        for (axis, share) in *parts {
            let _ = a.get(n as i64).narrow(0, *axis, 1).fill_(strength * share);
        }
    }
    a
}

#[test]
fn overlap_of_planted_subspaces_follows_their_angles() {
    // The strongest directions are 30 degrees apart, the second 60, and the third is orthogonal to all.
    let (c30, s30, c60, s60) = (0.75f64.sqrt(), 0.5, 0.5, 0.75f64.sqrt());
    let one = rows(10, &[(9.0, &[(0, 1.0)]), (5.0, &[(1, 1.0)]), (2.0, &[(2, 1.0)])]);
    let other = rows(
        10,
        &[
            (8.0, &[(0, c30), (5, s30)]),
            (3.0, &[(1, c60), (6, s60)]),
            (1.0, &[(7, 1.0)]),
        ],
    );
    let phi = Overlap::of(&directions(&one).unwrap(), &directions(&other).unwrap()).unwrap();
    close(phi.at(1, 1), 0.75, "cos² 30°");
    close(phi.at(1, 3), 0.75, "min(i, j) is 1");
    close(phi.at(2, 2), (0.75 + 0.25) / 2.0, "the mean of both");
    close(phi.at(3, 3), (0.75 + 0.25) / 3.0, "and nothing of the third");
    assert!(phi.at(0, 1).is_nan() && phi.at(4, 1).is_nan() && phi.at(1, 4).is_nan());
    let top = phi.clone().top(2);
    assert_eq!((top.rows, top.columns, top.at(2, 3)), (2, 3, phi.at(2, 3)));
    // A mixture of the rows spans the same subspace.
    let mixed = gaussian(3, 3, 5).matmul(&one);
    let same = Overlap::of(&directions(&mixed).unwrap(), &directions(&one).unwrap()).unwrap();
    close(same.at(3, 3), 1.0, "the same subspace");
}

/// An update of rank 4 stored with rank 8 and half of B zero, like a slot of a fused weight in PEFT's format.
fn padded(a: &Tensor, b: &Tensor) -> (Tensor, Tensor) {
    let other = gaussian(4, a.size()[1], 77) * 3.0;
    (Tensor::cat(&[&other, a], 0), Tensor::cat(&[&(b * 0.0), b], 1))
}

#[test]
fn directions_without_effect_on_the_update_are_not_counted() {
    let (a, b, w) = (gaussian(4, 30, 1), gaussian(20, 4, 2), gaussian(20, 30, 3));
    let (wide_a, wide_b) = padded(&a, &b);
    let (small, wide) = (
        Svd::of_product(&b, &a).unwrap(),
        Svd::of_product(&wide_b, &wide_a).unwrap(),
    );
    assert_eq!((small.rank().unwrap(), wide.rank().unwrap()), (4, 4));
    close(
        wide.top(4).projected(&w).unwrap(),
        small.projected(&w).unwrap(),
        "W in dW",
    );
    assert!(
        wide.projected(&w).unwrap() > small.projected(&w).unwrap() + 0.5,
        "arbitrary directions would count"
    );
    // A has eight directions, the update only four of them.
    let (one, other) = (
        update_directions(&b, &a).unwrap(),
        update_directions(&wide_b, &wide_a).unwrap(),
    );
    assert_eq!(
        (other.size(), directions(&wide_a).unwrap().size()),
        (vec![30, 4], vec![30, 8])
    );
    let phi = Overlap::of(&one, &other).unwrap();
    for i in 1..=4 {
        close(phi.at(i, i), 1.0, "the same subspaces, one by one");
    }
    // If B has full column rank, the directions are those of A.
    let of_a = Overlap::of(&one, &directions(&a).unwrap()).unwrap();
    for i in 1..=4 {
        close(of_a.at(i, i), 1.0, "A's own");
    }
    // Repeated rows, and rounding to fp32.
    let twice = Tensor::cat(&[&a, &a], 0).to_kind(Kind::Float);
    assert_eq!(directions(&twice).unwrap().size(), [30, 4]);
    let rounded = gaussian(30, 30, 9).narrow(1, 0, 4).matmul(&a).to_kind(Kind::Float);
    assert_eq!(Svd::of(&rounded).unwrap().rank().unwrap(), 4);
    // A weak direction still counts.
    let weak = Tensor::from_slice(&[1.0, 1.0, 1.0, 1e-5]).view([1, 4]);
    assert_eq!(Svd::of_product(&(&b * weak), &a).unwrap().rank().unwrap(), 4);
}

#[test]
fn an_update_of_zero_has_no_directions() {
    let (a, b) = (gaussian(4, 30, 1), gaussian(20, 4, 2));
    let (no_a, no_b) = (&a * 0.0, &b * 0.0);
    for (b, a) in [(&b, &no_a), (&no_b, &a), (&no_b, &no_a)] {
        assert_eq!(Svd::of_product(b, a).unwrap().rank().unwrap(), 0);
        assert_eq!(update_directions(b, a).unwrap().size(), [30, 0]);
    }
    assert_eq!(directions(&no_a).unwrap().size(), [30, 0]);
}

#[test]
fn overlap_of_random_subspaces_is_that_of_chance() {
    let (d, n) = (200, 20);
    let draws: Vec<f64> = (0..n)
        .map(|seed| {
            let one = directions(&gaussian(8, d, 2 * seed)).unwrap();
            let other = directions(&gaussian(32, d, 2 * seed + 1)).unwrap();
            Overlap::of(&one, &other).unwrap().at(8, 32)
        })
        .collect();
    let mean = draws.iter().sum::<f64>() / n as f64;
    assert!((mean - 32.0 / 200.0).abs() < 0.01, "max(i, j) / d is 0.16, not {mean}");
    assert!(draws[0] != draws[1] && gaussian(2, 3, 7) == gaussian(2, 3, 7));
    // The random control of Table 7.
    let w = gaussian(d, d, 1);
    let norm = w.norm().double_value(&[]);
    let ours = random_projection(&w, 8, 10, 1).unwrap();
    assert!((ours / (norm * 8.0 / 200.0) - 1.0).abs() < 0.05, "{ours}");
}

#[test]
fn invalid_matrices_are_refused() {
    let (a, wide) = (gaussian(4, 10, 1), gaussian(4, 12, 1));
    let said = |e: lora_core::Error| e.to_string();
    let other = Overlap::of(&directions(&a).unwrap(), &directions(&wide).unwrap());
    assert!(said(other.unwrap_err()).contains("different width"));
    assert!(said(Svd::of_product(&gaussian(9, 3, 1), &a).unwrap_err()).contains("not factors of one update"));
    assert!(said(directions(&(a.shallow_clone() / 0.0)).unwrap_err()).contains("finite"));
    assert!(said(directions(&a.get(0)).unwrap_err()).contains("not a matrix"));
    let svd = Svd::of_product(&gaussian(9, 4, 1), &a).unwrap();
    assert!(said(svd.projected(&a).unwrap_err()).contains("the update [9, 10]"));
    assert!(said(random_projection(&a, 5, 1, 1).unwrap_err()).contains("at least 1"));
}

struct Golden(Value);

impl Golden {
    fn read() -> Golden {
        Golden(serde_json::from_str(include_str!("golden.json")).unwrap())
    }

    fn number(&self, of: &str, key: &str) -> f64 {
        self.0[of][key].as_f64().unwrap()
    }

    fn matrix(&self, name: &str) -> Tensor {
        let lines: Vec<Vec<f64>> = serde_json::from_value(self.0["inputs"][name].clone()).unwrap();
        let (rows, flat) = (lines.len() as i64, lines.concat());
        Tensor::from_slice(&flat).view([rows, -1])
    }

    fn phi(&self, key: &str, ours: &Overlap) {
        let theirs: Vec<Vec<f64>> = serde_json::from_value(self.0[key].clone()).unwrap();
        assert_eq!((ours.rows, ours.columns), (theirs.len(), theirs[0].len()));
        for (n, (ours, theirs)) in ours.values.iter().zip(theirs.concat()).enumerate() {
            close(*ours, theirs, &format!("{key}, {n}"));
        }
    }
}

#[test]
fn results_equal_numpys() {
    let golden = Golden::read();
    let of = |name: &str| directions(&golden.matrix(name)).unwrap();
    golden.phi("phi_a4_a8", &Overlap::of(&of("a4"), &of("a8")).unwrap());
    golden.phi("phi_w_a4", &Overlap::of(&of("w"), &of("a4")).unwrap());
    let (w, alpha) = (golden.matrix("w"), golden.0["alpha"].as_f64().unwrap());
    let of_weight = Svd::of(&w).unwrap();
    for (name, r) in [("r4", 4), ("r8", 8)] {
        let (a, b) = (golden.matrix(&format!("a{r}")), golden.matrix(&format!("b{r}")));
        let update = Svd::of_product(&b, &a).unwrap();
        let (ba, scale) = (update.norm(), alpha / r as f64);
        let onto_delta = update.projected(&w).unwrap();
        for (key, ours) in [
            ("weight", of_weight.norm()),
            ("ba", ba),
            ("delta", scale * ba),
            ("onto_delta", onto_delta),
            ("onto_weight", of_weight.top(r).projected(&w).unwrap()),
            ("onto_weight", of_weight.top(r).norm()),
            ("amplification", scale * ba / onto_delta),
            ("amplification_unscaled", ba / onto_delta),
        ] {
            close(ours, golden.number(name, key), &format!("{name} {key}"));
        }
        let theirs: Vec<f64> = serde_json::from_value(golden.0[name]["spectrum"].clone()).unwrap();
        for (ours, theirs) in update.spectrum().unwrap().iter().zip(theirs) {
            close(*ours, theirs, &format!("{name} spectrum"));
        }
    }
}
