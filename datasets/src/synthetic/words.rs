//! The vocabulary: small closed sets, so that a small model can learn each word.

/// People.
pub(crate) static NAMES: [&str; 24] = [
    "Anna", "Ben", "Clara", "David", "Emma", "Frank", "Grace", "Henry", "Ida", "Jack", "Kate", "Leo", "Mary", "Noah",
    "Olga", "Paul", "Rosa", "Sam", "Tina", "Victor", "Wendy", "Peter", "Laura", "Simon",
];

/// Things that can be counted; the plural adds an s.
pub(crate) static THINGS: [&str; 16] = [
    "book", "key", "ball", "lamp", "chair", "coat", "letter", "apple", "basket", "bottle", "ring", "clock", "drum",
    "kite", "ladder", "map",
];

/// Colours.
pub(crate) static COLOURS: [&str; 8] = ["red", "blue", "green", "yellow", "black", "white", "brown", "grey"];

/// Places, with their prepositions.
pub(crate) static PLACES: [&str; 12] = [
    "in the kitchen",
    "in the garden",
    "at the station",
    "at the market",
    "in the library",
    "at the harbour",
    "in the office",
    "at the school",
    "in the park",
    "at the museum",
    "in the cellar",
    "at the bank",
];

/// Days.
pub(crate) static DAYS: [&str; 7] = [
    "Monday",
    "Tuesday",
    "Wednesday",
    "Thursday",
    "Friday",
    "Saturday",
    "Sunday",
];

/// Numbers of things.
pub(crate) static COUNTS: [&str; 8] = ["two", "three", "four", "five", "six", "seven", "eight", "nine"];

/// What one person can do to another: two words of one meaning, each as base form and past (which is the participle too).
pub(crate) static ACTS: [[(&str, &str); 2]; 8] = [
    [("help", "helped"), ("assist", "assisted")],
    [("call", "called"), ("phone", "phoned")],
    [("praise", "praised"), ("applaud", "applauded")],
    [("hire", "hired"), ("employ", "employed")],
    [("warn", "warned"), ("alert", "alerted")],
    [("chase", "chased"), ("pursue", "pursued")],
    [("rescue", "rescued"), ("save", "saved")],
    [("scold", "scolded"), ("rebuke", "rebuked")],
];

/// A thing changes hands: what the one side does, and what the other.
#[derive(Debug)]
pub(crate) struct Deal {
    pub give: &'static str,
    pub gave: &'static str,
    pub given: &'static str,
    pub receive: &'static str,
    pub received: &'static str,
}

pub(crate) static DEALS: [Deal; 3] = [
    Deal {
        give: "give",
        gave: "gave",
        given: "given",
        receive: "receive",
        received: "received",
    },
    Deal {
        give: "sell",
        gave: "sold",
        given: "sold",
        receive: "buy",
        received: "bought",
    },
    Deal {
        give: "lend",
        gave: "lent",
        given: "lent",
        receive: "borrow",
        received: "borrowed",
    },
];

/// Comparisons and their converses.
pub(crate) static COMPARISONS: [(&str, &str); 6] = [
    ("taller", "shorter"),
    ("older", "younger"),
    ("faster", "slower"),
    ("stronger", "weaker"),
    ("richer", "poorer"),
    ("heavier", "lighter"),
];

/// What is reviewed.
pub(crate) static TOPICS: [&str; 12] = [
    "film", "meal", "hotel", "novel", "concert", "play", "service", "trip", "room", "story", "music", "soup",
];

/// Words of praise.
pub(crate) static GOOD: [&str; 10] = [
    "wonderful",
    "lovely",
    "excellent",
    "charming",
    "superb",
    "delightful",
    "great",
    "good",
    "brilliant",
    "pleasant",
];

/// Words of blame.
pub(crate) static BAD: [&str; 10] = [
    "awful", "boring", "terrible", "dreadful", "poor", "dull", "bad", "horrible", "weak", "nasty",
];

/// What turns a judgement into its opposite.
pub(crate) static NEGATIONS: [&str; 4] = ["not", "hardly", "never", "far from"];

/// What makes a judgement stronger, and keeps its direction.
pub(crate) static DEGREES: [&str; 4] = ["very", "really", "quite", "truly"];

/// How someone pleased sums up, and someone displeased.
pub(crate) static PLEASED: [&str; 4] = ["hurrah", "bravo", "fine", "lucky me"];
pub(crate) static DISPLEASED: [&str; 4] = ["alas", "shame", "oh dear", "poor me"];

/// What either may add.
pub(crate) static ENDINGS: [&str; 4] = [
    "that was my evening",
    "so the day went",
    "that is all there is to say",
    "now you know",
];

/// How a report begins in the second genre of the three-way task.
pub(crate) static REPORTS: [&str; 4] = [
    "we heard that",
    "they say that",
    "it is known that",
    "the paper says that",
];
