//! The scorers that need data of their own, which are not part of this project: METEOR, and NLTK's tokenizer.

use std::collections::BTreeMap;

use super::meteor::Meteor;
use super::nltk::Nltk;

/// METEOR and NLTK's tokenizer, each where its data are at hand.
#[derive(Default)]
pub struct Scorers {
    /// METEOR.
    pub meteor: Option<Meteor>,
    /// NLTK's tokenizer.
    pub nltk: Option<Nltk>,
}

impl Scorers {
    /// SHA-256 of the data at hand, by the scorer's name.
    pub fn data_sha256(&self) -> BTreeMap<&'static str, String> {
        let meteor = self.meteor.is_some().then(|| ("METEOR", Meteor::data_sha256()));
        let nltk = self.nltk.is_some().then(|| ("Punkt", Nltk::data_sha256()));
        meteor.into_iter().chain(nltk).collect()
    }

    /// Whether these scorers can fill in what `metrics` lack. Where there is TER, METEOR too is computed on NLTK's words.
    pub fn would_add(&self, metrics: &BTreeMap<String, Option<f64>>) -> bool {
        let lacks = |ending: &str| metrics.iter().any(|(k, v)| k.ends_with(ending) && v.is_none());
        let on_words = metrics.keys().any(|key| key.ends_with("/TER"));
        let meteor = self.meteor.is_some() && (self.nltk.is_some() || !on_words);
        meteor && lacks("/METEOR") || self.nltk.is_some() && lacks("/TER")
    }
}

#[cfg(test)]
mod tests {
    use super::Scorers;

    #[test]
    fn without_scorers_nothing_can_be_added() {
        let metrics = [("test/TER".to_owned(), None)].into_iter().collect();
        assert!(!Scorers::default().would_add(&metrics));
        assert!(Scorers::default().data_sha256().is_empty());
    }
}
