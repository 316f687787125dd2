//! Chats: two people tell each other what happened, and ask for what was left out.

use super::relation::some_details;
use super::words::{DAYS, NAMES};
use super::world::{Fact, Slot, one, question, sentence};
use rand::Rng;
use rand::seq::index::sample;
use rand_chacha::ChaCha8Rng;

static GREETINGS: [&str; 4] = ["Hi", "Hello", "Hey", "Good evening"];
static SURPRISES: [&str; 4] = ["Really?", "Oh!", "I see.", "How nice."];
static FAREWELLS: [&str; 4] = ["Bye!", "See you.", "Until tomorrow.", "Thanks, bye."];

/// A chat and the facts told in it.
pub(crate) struct Chat {
    /// `Anna: Hi Ben!` and so on.
    pub lines: Vec<String>,
    /// Who told whom what, with which details, in order.
    told: Vec<(usize, usize, Fact, Vec<Slot>)>,
}

/// A chat in which one or two facts are told.
pub(crate) fn chat(rng: &mut ChaCha8Rng) -> Chat {
    let people = sample(rng, NAMES.len(), 2);
    let (first, second) = (people.index(0), people.index(1));
    let mut chat = Chat {
        lines: Vec::new(),
        told: Vec::new(),
    };
    let greeting = one(&GREETINGS, rng).unwrap_or("Hi");
    chat.say(first, &format!("{greeting} {}!", NAMES[second]));
    if rng.random_bool(0.5) {
        let greeting = one(&GREETINGS, rng).unwrap_or("Hi");
        chat.say(second, &format!("{greeting} {}!", NAMES[first]));
    }
    chat.tell(first, second, rng);
    if rng.random_bool(0.4) {
        chat.tell(second, first, rng);
    }
    chat.say(first, one(&FAREWELLS, rng).unwrap_or_default());
    chat
}

impl Chat {
    fn say(&mut self, who: usize, text: &str) {
        self.lines.push(format!("{}: {text}", NAMES[who]));
    }

    /// `who` tells a fact to `whom`, who asks for a detail if one was left out.
    fn tell(&mut self, who: usize, whom: usize, rng: &mut ChaCha8Rng) {
        let fact = Fact::any(rng);
        let mut with = some_details(&fact, rng);
        let left_out: Vec<Slot> = fact
            .kind
            .details()
            .iter()
            .copied()
            .filter(|s| !with.contains(s))
            .collect();
        let voice = rng.random_range(0..fact.kind.voices());
        self.say(who, &sentence(&fact.tell(voice, &with, rng)));
        match one(&left_out, rng) {
            Some(slot) if rng.random_bool(0.7) => {
                let second = rng.random_bool(0.5);
                self.say(whom, &question(&fact.ask(slot, second, rng)));
                let answer = match slot {
                    Slot::Day => format!("on {}", DAYS[fact.get(Slot::Day)]),
                    _ => fact.place().to_owned(),
                };
                self.say(who, &sentence(&answer));
                with.push(slot);
            }
            _ => self.say(whom, one(&SURPRISES, rng).unwrap_or_default()),
        }
        self.told.push((who, whom, fact, with));
    }
}

/// A summary of the facts told.
pub(crate) fn summary(chat: &Chat, rng: &mut ChaCha8Rng) -> String {
    let told = chat.told.iter().map(|(who, whom, fact, with)| {
        let clause = fact.tell(0, with, rng);
        format!("{} tells {} that {clause}.", NAMES[*who], NAMES[*whom])
    });
    told.collect::<Vec<_>>().join(" ")
}
