//! Facts, and sentences and questions about them.

use super::words::{ACTS, COLOURS, COMPARISONS, COUNTS, DAYS, DEALS, Deal, NAMES, PLACES, THINGS};
use rand::Rng;
use rand::seq::IndexedRandom;
use rand_chacha::ChaCha8Rng;

/// The kind of a fact.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum FactKind {
    /// One person did something to another.
    Act,
    /// Things went from one person to another.
    Transfer,
    /// One person is more of something than another.
    Compare,
    /// A thing was somewhere.
    Stay,
    /// A person has things.
    Own,
}

/// A part of a fact.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Slot {
    Verb,
    Who,
    Whom,
    Count,
    Thing,
    Colour,
    Place,
    Day,
}

use Slot::{Colour, Count, Day, Place, Thing, Verb, Who, Whom};

/// All kinds.
pub(crate) const KINDS: [FactKind; 5] = [
    FactKind::Act,
    FactKind::Transfer,
    FactKind::Compare,
    FactKind::Stay,
    FactKind::Own,
];

impl FactKind {
    /// The parts that every telling has.
    pub fn core(self) -> &'static [Slot] {
        match self {
            FactKind::Act | FactKind::Compare => &[Verb, Who, Whom],
            FactKind::Transfer => &[Verb, Who, Whom, Count, Thing],
            FactKind::Stay => &[Colour, Thing, Place],
            FactKind::Own => &[Who, Count, Thing],
        }
    }

    /// The parts that may be left out.
    pub fn details(self) -> &'static [Slot] {
        match self {
            FactKind::Act => &[Place, Day],
            FactKind::Transfer | FactKind::Stay => &[Day],
            FactKind::Compare | FactKind::Own => &[],
        }
    }

    /// The parts that can be asked for.
    pub fn askable(self) -> &'static [Slot] {
        match self {
            FactKind::Act => &[Who, Whom, Place, Day],
            FactKind::Transfer => &[Who, Whom, Count, Day],
            FactKind::Compare => &[Who, Whom],
            FactKind::Stay => &[Place, Day],
            FactKind::Own => &[Who, Count],
        }
    }

    /// Parts with one value at a time: another value contradicts the fact.
    pub fn single_valued(self) -> &'static [Slot] {
        match self {
            FactKind::Act => &[Place, Day],
            FactKind::Transfer => &[Count, Day],
            FactKind::Compare => &[],
            FactKind::Stay => &[Place],
            FactKind::Own => &[Count],
        }
    }

    /// Parts for which another value may hold as well.
    pub fn independent(self) -> &'static [Slot] {
        match self {
            FactKind::Act | FactKind::Compare => &[Verb],
            FactKind::Transfer | FactKind::Own => &[Thing],
            FactKind::Stay => &[Colour, Thing],
        }
    }

    /// In how many voices it can be told.
    pub fn voices(self) -> usize {
        match self {
            FactKind::Act | FactKind::Compare => 2,
            FactKind::Transfer | FactKind::Stay | FactKind::Own => 3,
        }
    }

    fn choices(self, slot: Slot) -> usize {
        match slot {
            Verb if self == FactKind::Act => ACTS.len(),
            Verb if self == FactKind::Transfer => DEALS.len(),
            Verb => COMPARISONS.len(),
            Who | Whom => NAMES.len(),
            Count => COUNTS.len(),
            Thing => THINGS.len(),
            Colour => COLOURS.len(),
            Place => PLACES.len(),
            Day => DAYS.len(),
        }
    }
}

/// A fact.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Fact {
    pub kind: FactKind,
    /// Which word stands in each slot.
    values: [usize; 8],
}

impl Fact {
    /// A random fact.
    pub fn any(rng: &mut ChaCha8Rng) -> Fact {
        let kind = KINDS[rng.random_range(0..KINDS.len())];
        Fact::of(kind, rng)
    }

    /// A fact of this kind.
    pub fn of(kind: FactKind, rng: &mut ChaCha8Rng) -> Fact {
        let mut fact = Fact { kind, values: [0; 8] };
        for slot in [Verb, Who, Whom, Count, Thing, Colour, Place, Day] {
            fact.values[slot as usize] = rng.random_range(0..kind.choices(slot));
        }
        while fact.get(Whom) == fact.get(Who) {
            fact.values[Whom as usize] = rng.random_range(0..NAMES.len());
        }
        fact
    }

    /// Which word stands in the slot.
    pub fn get(&self, slot: Slot) -> usize {
        self.values[slot as usize]
    }

    /// The same with another word in the slot.
    pub fn alter(&self, slot: Slot, rng: &mut ChaCha8Rng) -> Fact {
        let mut other = *self;
        while other.get(slot) == self.get(slot) || other.get(Who) == other.get(Whom) {
            other.values[slot as usize] = rng.random_range(0..self.kind.choices(slot));
        }
        other
    }

    /// The same with the two persons in each other's place.
    pub fn swap(&self) -> Fact {
        let mut other = *self;
        other.values.swap(Who as usize, Whom as usize);
        other
    }

    /// Whether two persons take part.
    pub fn is_between_two(&self) -> bool {
        self.kind.core().contains(&Whom)
    }

    pub fn who(&self) -> &'static str {
        NAMES[self.get(Who)]
    }

    pub fn whom(&self) -> &'static str {
        NAMES[self.get(Whom)]
    }

    pub fn things(&self) -> String {
        format!("{} {}s", COUNTS[self.get(Count)], THINGS[self.get(Thing)])
    }

    pub fn deal(&self) -> &'static Deal {
        &DEALS[self.get(Verb)]
    }

    pub fn coloured(&self) -> String {
        format!("the {} {}", COLOURS[self.get(Colour)], THINGS[self.get(Thing)])
    }

    pub fn place(&self) -> &'static str {
        PLACES[self.get(Place)]
    }

    /// The fact as a clause, without capital and stop; `with` are the details to mention.
    pub fn tell(&self, voice: usize, with: &[Slot], rng: &mut ChaCha8Rng) -> String {
        let (who, whom, things) = (self.who(), self.whom(), self.things());
        let core = match (self.kind, voice) {
            (FactKind::Act, v) => {
                let (_, did) = ACTS[self.get(Verb)][rng.random_range(0..2)];
                match v {
                    0 => format!("{who} {did} {whom}"),
                    _ => format!("{whom} was {did} by {who}"),
                }
            }
            (FactKind::Transfer, 0) => format!("{who} {} {things} to {whom}", self.deal().gave),
            (FactKind::Transfer, 1) => format!("{whom} {} {things} from {who}", self.deal().received),
            (FactKind::Transfer, _) => format!("{things} were {} to {whom} by {who}", self.deal().given),
            (FactKind::Compare, 0) => format!("{who} is {} than {whom}", COMPARISONS[self.get(Verb)].0),
            (FactKind::Compare, _) => format!("{whom} is {} than {who}", COMPARISONS[self.get(Verb)].1),
            (FactKind::Stay, 0) => format!("{} was {}", self.coloured(), self.place()),
            (FactKind::Stay, 1) => format!("{} stood {}", self.coloured(), self.place()),
            (FactKind::Stay, _) => format!("{} was {}", self.place(), self.coloured()),
            (FactKind::Own, 0) => format!("{who} has {things}"),
            (FactKind::Own, 1) => format!("{who} owns {things}"),
            (FactKind::Own, _) => format!("{things} belong to {who}"),
        };
        self.detailed(core, with, rng)
    }

    fn detailed(&self, core: String, with: &[Slot], rng: &mut ChaCha8Rng) -> String {
        let place = if with.contains(&Place) {
            format!(" {}", self.place())
        } else {
            String::new()
        };
        if !with.contains(&Day) {
            return core + &place;
        }
        let day = DAYS[self.get(Day)];
        if rng.random_bool(0.3) {
            format!("on {day} {core}{place}")
        } else {
            format!("{core}{place} on {day}")
        }
    }

    /// The question for `slot` in one of two wordings, without capital and question mark.
    pub fn ask(&self, slot: Slot, second: bool, rng: &mut ChaCha8Rng) -> String {
        let (who, whom) = (self.who(), self.whom());
        let pick = |first: String, other: String| if second { other } else { first };
        match self.kind {
            FactKind::Act => self.ask_act(slot, second, rng),
            FactKind::Transfer => self.ask_transfer(slot, second),
            FactKind::Compare => {
                let (more, less) = COMPARISONS[self.get(Verb)];
                match slot {
                    Who => pick(
                        format!("who is {more} than {whom}"),
                        format!("who is {whom} {less} than"),
                    ),
                    _ => pick(format!("who is {less} than {who}"), format!("who is {who} {more} than")),
                }
            }
            FactKind::Stay => {
                let (thing, place) = (self.coloured(), self.place());
                match slot {
                    Place => pick(format!("where was {thing}"), format!("in which place was {thing}")),
                    _ => pick(
                        format!("when was {thing} {place}"),
                        format!("on which day was {thing} {place}"),
                    ),
                }
            }
            FactKind::Own => match slot {
                Who => pick(
                    format!("who has {}", self.things()),
                    format!("to whom do {} belong", self.things()),
                ),
                _ => {
                    let thing = THINGS[self.get(Thing)];
                    pick(
                        format!("how many {thing}s does {who} have"),
                        format!("how many {thing}s belong to {who}"),
                    )
                }
            },
        }
    }

    fn ask_act(&self, slot: Slot, second: bool, rng: &mut ChaCha8Rng) -> String {
        let (who, whom) = (self.who(), self.whom());
        let (act, did) = ACTS[self.get(Verb)][rng.random_range(0..2)];
        match (slot, second) {
            (Who, false) => format!("who {did} {whom}"),
            (Who, true) => format!("by whom was {whom} {did}"),
            (Whom, false) => format!("who was {did} by {who}"),
            (Whom, true) => format!("whom did {who} {act}"),
            (Place, false) => format!("where did {who} {act} {whom}"),
            (Place, true) => format!("in which place was {whom} {did} by {who}"),
            (_, false) => format!("when did {who} {act} {whom}"),
            (_, true) => format!("on which day was {whom} {did} by {who}"),
        }
    }

    fn ask_transfer(&self, slot: Slot, second: bool) -> String {
        let (who, whom, things) = (self.who(), self.whom(), self.things());
        let Deal {
            give,
            gave,
            receive,
            received,
            ..
        } = self.deal();
        let thing = THINGS[self.get(Thing)];
        match (slot, second) {
            (Who, false) => format!("who {gave} {things} to {whom}"),
            (Who, true) => format!("from whom did {whom} {receive} {things}"),
            (Whom, false) => format!("who {received} {things} from {who}"),
            (Whom, true) => format!("to whom did {who} {give} {things}"),
            (Count, false) => format!("how many {thing}s did {who} {give} to {whom}"),
            (Count, true) => format!("how many {thing}s did {whom} {receive} from {who}"),
            (_, false) => format!("when did {who} {give} {things} to {whom}"),
            (_, true) => format!("on which day did {whom} {receive} {things} from {who}"),
        }
    }
}

/// One of `items`.
pub(crate) fn one<T: Copy>(items: &[T], rng: &mut ChaCha8Rng) -> Option<T> {
    items.choose(rng).copied()
}

/// A clause as a sentence.
pub(crate) fn sentence(clause: &str) -> String {
    capital(clause) + "."
}

/// A clause as a question.
pub(crate) fn question(clause: &str) -> String {
    capital(clause) + "?"
}

fn capital(clause: &str) -> String {
    let mut letters = clause.chars();
    letters.next().map_or_else(String::new, |first| {
        first.to_uppercase().collect::<String>() + letters.as_str()
    })
}
