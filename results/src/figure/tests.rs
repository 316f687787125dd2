//! Figures are functions of what is stored, byte for byte. The numbers are made up.

use super::*;
use crate::analysis::{self, Analysis, Comparison, Directions, Findings, Module, PhiGrid, Subspace};
use crate::record::Provenance;
use crate::store::Selection;

/// phi of two random families, roughly: enough to have something to draw.
fn grid(about: Comparison, layer: Option<u32>, module: Option<Module>, rows: usize, columns: usize) -> PhiGrid {
    let value = |at: usize| {
        let (i, j) = (at / columns + 1, at % columns + 1);
        (1.0 / i.max(j) as f32 + j as f32 / 128.0).min(1.0)
    };
    let axis = |len| analysis::GridAxis {
        of: Directions::Random,
        len,
    };
    PhiGrid {
        about,
        layer,
        module,
        i: axis(rows),
        j: axis(columns),
        values: (0..rows * columns).map(value).collect(),
    }
}

fn stored() -> Selection {
    let mut grids = vec![grid(Comparison::Random, None, None, 16, 16)];
    for layer in 1..=2 {
        for module in [Module::Query, Module::Value] {
            grids.push(grid(Comparison::Ranks, Some(layer), Some(module), 4, 16));
            grids.push(grid(Comparison::Seeds, Some(layer), Some(module), 16, 16));
        }
        grids.push(grid(Comparison::Weight, Some(layer), Some(Module::Query), 10, 4));
    }
    let analysis = Analysis {
        schema: analysis::SCHEMA,
        id: "0123456789abcdef".into(),
        label: "made-up <numbers> & words".into(),
        model: "tiny".into(),
        preset: None,
        config: serde_json::json!({}),
        findings: Findings::Subspace(Subspace {
            layers: 2,
            probe: 1,
            grids,
            ..Subspace::default()
        }),
        provenance: Provenance::default(),
        started: String::new(),
        seconds: 1.0,
    };
    Selection {
        analyses: vec![analysis],
        ..Selection::default()
    }
}

#[test]
fn every_figure_is_drawn_with_and_without_anything_stored() {
    for (stored, empty) in [(Selection::default(), true), (stored(), false)] {
        for kind in FIGURES {
            let figures = kind.figures(&stored).unwrap();
            assert!(!figures.is_empty(), "{}", kind.name());
            for figure in figures {
                let svg = figure.svg(Style::Screen).unwrap();
                assert_eq!(svg, figure.svg(Style::Screen).unwrap(), "{}", figure.name);
                assert!(figure.name.starts_with(kind.name()), "{}", figure.name);
                assert!(svg.ends_with("</svg>\n") && !svg.contains("NaN"), "{}", figure.name);
                // Nothing that these show is stored here.
                let other = ["figure2", "figure5", "spectra"].contains(&kind.name());
                assert_eq!(figure.is_empty(), empty || other, "{}", figure.name);
                assert_eq!(svg.contains("Not measured yet"), figure.is_empty(), "{}", figure.name);
            }
        }
    }
}

#[test]
fn a_png_is_the_same_picture_twice_as_large() {
    let figure = FIGURES[1].figures(&stored()).unwrap().remove(0);
    let [_, (_, png)] = figure.files().unwrap();
    assert_eq!(png, figure.files().unwrap()[1].1);
    let pixels = resvg::tiny_skia::Pixmap::decode_png(&png).unwrap();
    assert_eq!(pixels.width(), 2 * style::WIDTH);
    let ink = pixels.pixels().iter().filter(|p| p.red() < 128).count();
    assert!(ink > 1000, "{ink} dark pixels");
}

#[test]
fn captions_say_what_it_is_and_words_cannot_break_the_svg() {
    let figure = FIGURES[1].figures(&stored()).unwrap().remove(0);
    assert!(
        figure.caption.contains("made-up <numbers> & words"),
        "{}",
        figure.caption
    );
    assert!(
        figure
            .svg(Style::Screen)
            .unwrap()
            .contains("made-up &lt;numbers&gt; &amp; words")
    );
}

#[test]
fn the_probed_layer_has_a_figure_of_its_own() {
    let of = |at: usize| FIGURES[at].figures(&stored()).unwrap().remove(0);
    let titles = |figure: &Figure| {
        figure
            .panels
            .iter()
            .flatten()
            .map(|p| p.title.clone())
            .collect::<Vec<_>>()
    };
    assert_eq!(titles(&of(2)), ["ΔW_q", "ΔW_v", "random Gaussian"]);
    assert!(of(1).title.contains("layer 1 of 2") && of(4).title.contains("layer 2 of 2"));
    let Content::Cells { rows, .. } = &of(1).panels[0][2].content else {
        panic!("no cells")
    };
    assert_eq!((rows.len(), rows[0].len()), (4, 4), "enlarged: as many columns as rows");
}

#[test]
fn axes_have_round_ticks_inside_their_range() {
    let said = |axis: &Axis| {
        axis.ticks
            .iter()
            .map(|(_, text)| text.clone())
            .collect::<Vec<_>>()
            .join(" ")
    };
    assert_eq!(said(&Axis::counted("", 64, 8)), "1 8 16 24 32 40 48 56 64");
    assert_eq!(said(&Axis::counted("", 8, 8)), "1 2 3 4 5 6 7 8");
    assert_eq!(said(&Axis::counted("", 1, 8)), "1");
    let axis = Axis::spanning("", [0.553, 0.741], 6);
    assert_eq!(said(&axis), "0.55 0.60 0.65 0.70 0.75");
    assert!(
        axis.ticks
            .iter()
            .all(|(at, _)| *at > axis.range.0 && *at < axis.range.1)
    );
    assert_eq!(said(&Axis::spanning("", [], 3)), "0.0 0.5 1.0");
    assert_eq!(said(&Axis::exactly("", (0.0, 0.5), 6)), "0.0 0.1 0.2 0.3 0.4 0.5");
    assert_eq!(said(&Axis::exactly("", (0.1, 0.2), 6)), "0.10 0.12 0.14 0.16 0.18 0.20");
}

#[test]
fn counts_are_ticked_in_words_and_a_stray_value_does_not_stretch_an_axis() {
    let said = |axis: &Axis| {
        axis.ticks
            .iter()
            .map(|(_, text)| text.clone())
            .collect::<Vec<_>>()
            .join(" ")
    };
    assert_eq!(said(&Axis::of_counts("", [4_608, 3_548_928])), "10k 100k 1M");
    assert_eq!(said(&Axis::of_counts("", [300, 9_000])), "500 1k 2k 5k 10k");
    assert_eq!(said(&Axis::of_counts("", [50_000])), "20k 50k 100k");
    let most = Axis::of_most("", [84.0, 84.5, 85.0, 85.5, 86.0, 48.6], 6);
    assert!(most.range.0 > 80.0 && most.range.1 > 86.0, "{most:?}");
    assert_eq!(Axis::of_most("", [], 3).range, Axis::spanning("", [], 3).range);
    assert_eq!(
        Axis::of_most("", [1.0, 1.0, 9.0], 3).range.1,
        Axis::spanning("", [1.0, 9.0], 3).range.1
    );
}

#[test]
fn in_print_there_is_no_title_and_no_hash() {
    let figure = FIGURES[1].figures(&stored()).unwrap().remove(0);
    let (screen, paper) = (figure.svg(Style::Screen).unwrap(), figure.svg(Style::Paper).unwrap());
    let drawn = |svg: &str| svg.split_once("</desc>").unwrap().1.to_owned();
    for (svg, has) in [(drawn(&screen), true), (drawn(&paper), false)] {
        assert_eq!(svg.contains(&figure.title), has);
        assert_eq!(svg.contains("Analysis 0123456789abcdef"), has);
    }
    assert!(
        paper.contains("width=\"6.752in\"") && !screen.contains("in\" height"),
        "{}",
        &paper[..200]
    );
    assert!(paper.contains("<tspan dy=\"0.3em\" font-size=\"70%\">q</tspan>"));
}

#[test]
fn spectra_say_how_many_directions_carry_an_update() {
    let mut stored = stored();
    let Findings::Subspace(found) = &mut stored.analyses[0].findings else {
        panic!("no subspaces")
    };
    let spectrum = |values: [f32; 4], module| analysis::Spectrum {
        adapter: 0,
        layer: 1,
        module,
        values: values.to_vec(),
    };
    found.adapters.push(analysis::Adapter {
        role: None,
        origin: "made up".into(),
        sha256: String::new(),
        rank: 4,
        directions: None,
        alpha: None,
        seed: None,
        task: None,
    });
    // Squares 9 and 4, 1 and 1: nine tenths of 15 are 13.5, which takes three; 100 of 103 takes one.
    found.spectra = vec![
        spectrum([3.0, 2.0, 1.0, 1.0], Module::Query),
        spectrum([10.0, 1.0, 1.0, 1.0], Module::Value),
    ];
    let kind = FIGURES.iter().find(|kind| kind.name() == "spectra").unwrap();
    let figure = kind.figures(&stored).unwrap().remove(0);
    assert_eq!(figure.panels[0].len(), 2);
    let said =
        "In layer 1 nine tenths of the squared norm lie in 3 of 4 directions of ΔW_q and 1 of 4 directions of ΔW_v.";
    assert!(figure.caption.contains(said), "{}", figure.caption);
}

#[test]
fn colours_end_where_the_papers_do_unless_much_lies_beyond() {
    let mut stored = stored();
    let kind = FIGURES.iter().find(|kind| kind.name() == "figure4").unwrap();
    let shown = |stored: &Selection| {
        let figure = kind.figures(stored).unwrap().remove(0);
        (figure.bar.unwrap().range, figure.caption)
    };
    for (phi, end, words) in [
        (0.4, 0.5, "colours end at 0.5, as in the paper"),
        (0.9, 1.0, "colours end at 1.0, in the paper at 0.5"),
    ] {
        let Findings::Subspace(found) = &mut stored.analyses[0].findings else {
            panic!("no subspaces")
        };
        for grid in found.grids.iter_mut().filter(|grid| grid.about == Comparison::Seeds) {
            grid.values.fill(phi);
        }
        let (range, caption) = shown(&stored);
        assert_eq!(range, (0.0, end));
        assert!(caption.contains(words), "{caption}");
    }
}
