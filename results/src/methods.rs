//! What tables, figures and grids know of methods, one entry per kind. A method without an entry is shown under its kind and
//! with a marker shared by all such methods.

use plotters::style::RGBColor;

use crate::figure::style::{
    BLUE, DARK, GREEN, Look,
    Marker::{
        self, Bar, Bowtie, Chevron, Circle, Cross, Diamond, Dome, Down, Hourglass, Left, Pentagon, Post, Right, Square,
        Star, Times, Triangle,
    },
    OLIVE, ORANGE, PINK, SKY,
};

/// What is known of a kind of method, beside how it trains.
#[derive(Clone, Copy, Debug)]
pub struct MethodFacts {
    /// Its kind, as in configurations and records.
    pub kind: &'static str,
    /// Its name in sentences and in tables of designs.
    pub name: &'static str,
    /// Settings that make the method larger, each with the prefix of its value in a grid's method names: `("r", "r")` gives
    /// `lora-r8`.
    pub sizes: &'static [(&'static str, &'static str)],
    /// Colour and marker.
    pub(crate) look: Look,
}

const fn facts(
    kind: &'static str,
    name: &'static str,
    sizes: &'static [(&'static str, &'static str)],
    look: Look,
) -> MethodFacts {
    MethodFacts {
        kind,
        name,
        sizes,
        look,
    }
}

const fn look_of(colour: RGBColor, marker: Marker) -> Look {
    Look { colour, marker }
}

/// Colour and marker of methods without an entry.
const OTHER: Look = look_of(OLIVE, Pentagon);

const RANK: &[(&str, &str)] = &[("targets", ""), ("r", "r")];
const BOTTLENECK: &[(&str, &str)] = &[("bottleneck", "r")];
const TOKENS: &[(&str, &str)] = &[("prefix", "p"), ("infix", "i")];

/// All entries. Each family of methods has a colour, and each method a marker of its own. Names of grids' methods list sizes in
/// the order of their first appearance here.
pub static METHOD_FACTS: &[MethodFacts] = &[
    facts("full", "full fine-tuning", &[], look_of(ORANGE, Square)),
    facts("lora", "LoRA", RANK, look_of(BLUE, Circle)),
    facts("dora", "DoRA", RANK, look_of(BLUE, Chevron)),
    facts("vera", "VeRA", RANK, look_of(BLUE, Dome)),
    facts("lora+pre_embed", "LoRA+PreEmbed", &[], look_of(BLUE, Hourglass)),
    facts("lora+pre_layer", "LoRA+PreLayer", &[], look_of(BLUE, Bowtie)),
    facts("adapter_h", "Adapter^H", BOTTLENECK, look_of(GREEN, Triangle)),
    facts("adapter_l", "Adapter^L", BOTTLENECK, look_of(GREEN, Down)),
    facts("adapter_p", "Adapter^P", BOTTLENECK, look_of(GREEN, Right)),
    facts("adapter_d", "Adapter^D", BOTTLENECK, look_of(GREEN, Left)),
    facts("pre_embed", "PreEmbed", TOKENS, look_of(PINK, Star)),
    facts("pre_layer", "PreLayer", TOKENS, look_of(PINK, Diamond)),
    facts(
        "prefix_tuning",
        "prefix tuning",
        &[("prefix", "p")],
        look_of(PINK, Post),
    ),
    facts("ft_top", "FT-Top2", &[("layers", "l")], look_of(ORANGE, Bar)),
    facts("bitfit", "BitFit", &[], look_of(SKY, Cross)),
    facts("ia3", "(IA)³", &[], look_of(SKY, Times)),
    facts("head", "the bare head", &[], look_of(DARK, Square)),
];

fn of(kind: &str) -> Option<&'static MethodFacts> {
    METHOD_FACTS.iter().find(|facts| facts.kind == kind)
}

/// Name of a method in sentences: its kind where it has no entry.
pub(crate) fn name(kind: &str) -> &str {
    of(kind).map_or(kind, |facts| facts.name)
}

/// Colour and marker of a method, the same in every figure.
pub(crate) fn look(kind: &str) -> Look {
    of(kind).map_or(OTHER, |facts| facts.look)
}

/// For each series of a figure, given by the kind of its method, the kind whose look it has: its own, or, where an earlier series has
/// that, one that no series is of, of the same colour if there is any.
pub(crate) fn looks_apart<'a>(kinds: &[&'a str]) -> Vec<&'a str> {
    let mut taken: Vec<&str> = Vec::new();
    for kind in kinds {
        let free = |facts: &&MethodFacts| !taken.contains(&facts.kind) && !kinds.contains(&facts.kind);
        let mut others: Vec<&MethodFacts> = METHOD_FACTS.iter().filter(free).collect();
        others.sort_by_key(|facts| facts.look.colour != look(kind).colour);
        let other = others.first().filter(|_| taken.contains(kind));
        taken.push(other.map_or(*kind, |facts| facts.kind));
    }
    taken
}

/// Place of a size setting in the names of a grid's methods, and its prefix there; `None` for settings that are not sizes.
#[must_use]
pub fn size(setting: &str) -> Option<(usize, &'static str)> {
    let all = METHOD_FACTS.iter().flat_map(|facts| facts.sizes).enumerate();
    let mut of_name = all.filter(|(_, (key, _))| *key == setting);
    of_name.next().map(|(place, (_, prefix))| (place, *prefix))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_method_has_a_marker_of_its_own() {
        let marker = |look: Look| look.marker;
        // The head alone trains none of the parameters that a figure counts.
        let drawn: Vec<&MethodFacts> = METHOD_FACTS.iter().filter(|facts| facts.kind != "head").collect();
        for (i, facts) in drawn.iter().enumerate() {
            let others = drawn[..i].iter().map(|other| other.look).chain([OTHER]);
            let same = others.map(marker).find(|other| *other == marker(facts.look));
            assert!(same.is_none(), "{} shares the marker {same:?}", facts.kind);
        }
    }

    #[test]
    fn series_of_one_method_look_apart() {
        let looks = looks_apart(&["lora", "full", "lora", "lora", "mine", "mine"]);
        assert_eq!(looks[..5], ["lora", "full", "dora", "vera", "mine"]);
        let apart: std::collections::BTreeSet<&&str> = looks.iter().collect();
        assert_eq!(apart.len(), looks.len(), "{looks:?}");
    }

    #[test]
    fn a_size_has_one_prefix_wherever_it_stands() {
        for (key, prefix) in METHOD_FACTS.iter().flat_map(|facts| facts.sizes) {
            assert_eq!(size(key).unwrap().1, *prefix, "{key}");
        }
        let place = |key| size(key).unwrap().0;
        let keys = ["targets", "r", "bottleneck", "prefix", "infix", "layers"];
        assert!(keys.windows(2).all(|pair| place(pair[0]) < place(pair[1])));
        assert_eq!(size("alpha"), None);
    }
}
