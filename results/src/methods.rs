//! What tables, figures and grids know of methods, one entry per kind. A method without an entry is shown under its kind and
//! with a marker shared by all such methods.

use crate::figure::style::{
    BLUE, DARK, GREEN, Look,
    Marker::{Circle, Cross, Diamond, Down, Left, Right, Square, Triangle},
    OLIVE, ORANGE, PINK, SKY, YELLOW, filled, hollow,
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

/// Colour and marker of methods without an entry.
const OTHER: Look = hollow(OLIVE, Left);

const RANK: &[(&str, &str)] = &[("targets", ""), ("r", "r")];
const BOTTLENECK: &[(&str, &str)] = &[("bottleneck", "r")];
const TOKENS: &[(&str, &str)] = &[("prefix", "p"), ("infix", "i")];

/// All entries. Each family of methods has a colour, and each method a marker of its own. Names of grids' methods list sizes in
/// the order of their first appearance here.
pub static METHOD_FACTS: &[MethodFacts] = &[
    facts("lora", "LoRA", RANK, filled(BLUE, Circle)),
    facts("dora", "DoRA", RANK, hollow(BLUE, Circle)),
    facts("lora+pre_embed", "LoRA+PreEmbed", &[], hollow(BLUE, Down)),
    facts("lora+pre_layer", "LoRA+PreLayer", &[], hollow(BLUE, Diamond)),
    facts("full", "full fine-tuning", &[], filled(ORANGE, Square)),
    facts("adapter_h", "Adapter^H", BOTTLENECK, filled(GREEN, Triangle)),
    facts("adapter_l", "Adapter^L", BOTTLENECK, hollow(GREEN, Triangle)),
    facts("adapter_p", "Adapter^P", BOTTLENECK, filled(GREEN, Right)),
    facts("adapter_d", "Adapter^D", BOTTLENECK, hollow(GREEN, Right)),
    facts("pre_embed", "prefixes as embeddings", TOKENS, filled(YELLOW, Down)),
    facts("pre_layer", "prefixes as activations", TOKENS, filled(PINK, Diamond)),
    facts("prefix_tuning", "prefix tuning", &[("prefix", "p")], filled(PINK, Left)),
    facts("ft_top", "FT-Top2", &[("layers", "l")], hollow(DARK, Square)),
    facts("bitfit", "BitFit", &[], filled(SKY, Cross)),
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
        let marker = |look: Look| (look.marker, look.filled);
        for (i, facts) in METHOD_FACTS.iter().enumerate() {
            let others = METHOD_FACTS[..i].iter().map(|other| other.look).chain([OTHER]);
            let same = others.map(marker).find(|other| *other == marker(facts.look));
            assert!(same.is_none(), "{} shares the marker {same:?}", facts.kind);
        }
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
