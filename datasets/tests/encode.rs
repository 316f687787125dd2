//! Rows and prompts of causal models, with a tokenizer learnt here and with GPT-2's own where `LORA_DATA` has it.

use datasets::text::encode::{Cut, EncodedPair, Frame, answer, contexts, pairs};
use datasets::text::{self, Pair};
use datasets::tokenize::{TokenizeError, Tokenizer, train_bpe, train_causal_bpe};

fn tokenizer(json: &str) -> Tokenizer {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("tokenizer.json"), json).unwrap();
    Tokenizer::from_dir(dir.path()).unwrap()
}

fn texts() -> Vec<String> {
    let texts = ["name : The Mill | Type : pub", "The Mill is a pub ."];
    texts.repeat(3).into_iter().map(str::to_owned).collect()
}

fn learnt() -> Tokenizer {
    tokenizer(&train_causal_bpe(&texts(), 400).unwrap())
}

fn pair() -> Pair {
    Pair {
        context: "name : The Mill | Type : pub".to_owned(),
        completion: "The Mill is a pub .".to_owned(),
    }
}

#[test]
fn rows_are_context_end_completion_end() {
    let tokenizer = learnt();
    let frame = Frame::of(&tokenizer, &[]).unwrap();
    assert_eq!((frame.separator, frame.end), (0, 0));
    let found = pairs(&tokenizer, &[pair()], frame, 512, Cut::End).unwrap();
    assert_eq!((found.cut, found.left_out, found.pairs.len()), (0, 0, 1));
    let EncodedPair { ids, scored_from } = &found.pairs[0];
    assert_eq!((ids[scored_from - 1], ids[ids.len() - 1]), (0, 0));
    assert_eq!(tokenizer.decode(&ids[..scored_from - 1]).unwrap(), pair().context);
    let scored = tokenizer.decode(&ids[*scored_from..]).unwrap();
    assert_eq!(scored, " The Mill is a pub .<|endoftext|>");
    assert_eq!(answer(&scored), pair().completion);
    let prompt = contexts(&tokenizer, &[pair().context], frame, 448).unwrap();
    assert_eq!(prompt[0], ids[..*scored_from]);
}

/// By hand from Li and Liang's code: `' {} {} '.format(context, separator) + completion + ' {}'.format(end)`, of which their
/// tokenizer strips what stands left and right of a special token; WebNLG's contexts begin with ` | `.
#[test]
fn rows_of_li_and_liang_have_other_blanks() {
    let tokenizer = learnt();
    for (id, lead) in [("e2e", " "), ("dart", " "), ("webnlg", "  | ")] {
        let frame = Frame::of(&tokenizer, &[])
            .unwrap()
            .li_liang(text::find(id).unwrap().li_liang.unwrap());
        let found = pairs(&tokenizer, &[pair()], frame, 512, Cut::End).unwrap();
        let EncodedPair { ids, scored_from } = &found.pairs[0];
        let context = format!("{lead}{}", pair().context);
        assert_eq!(tokenizer.decode(&ids[..scored_from - 1]).unwrap(), context);
        assert_eq!(
            tokenizer.decode(&ids[*scored_from..]).unwrap(),
            "The Mill is a pub .<|endoftext|>"
        );
        let prompt = contexts(&tokenizer, &[pair().context], frame, 448).unwrap();
        assert_eq!(prompt[0], ids[..*scored_from]);
    }
}

#[test]
fn what_is_too_long_is_cut_where_it_is_said() {
    let tokenizer = learnt();
    let frame = Frame::of(&tokenizer, &[]).unwrap();
    let whole = pairs(&tokenizer, &[pair()], frame, 512, Cut::End)
        .unwrap()
        .pairs
        .remove(0);
    let (length, scored) = (whole.ids.len(), whole.ids.len() - whole.scored_from);
    let cut = |max_len, cut| pairs(&tokenizer, &[pair()], frame, max_len, cut).unwrap();
    let at_end = cut(length - 1, Cut::End);
    assert_eq!((at_end.cut, &at_end.pairs[0].ids[..]), (1, &whole.ids[..length - 1]));
    let at_start = cut(length - 1, Cut::Start);
    assert_eq!(&at_start.pairs[0].ids[..], &whole.ids[1..]);
    assert_eq!(at_start.pairs[0].scored_from, whole.scored_from - 1);
    // The context fills the row: nothing to learn from is left, or the context goes.
    assert_eq!(cut(whole.scored_from, Cut::End).left_out, 1);
    let short = cut(scored, Cut::Start).pairs.remove(0);
    assert_eq!((short.ids.len(), short.scored_from), (scored, 1));
    let left = contexts(&tokenizer, &[pair().context], frame, 3).unwrap();
    assert_eq!(left[0], whole.ids[whole.scored_from - 3..whole.scored_from]);
    let wrong = pairs(&tokenizer, &[pair()], frame, 2, Cut::End).unwrap_err();
    assert!(matches!(
        wrong,
        TokenizeError::MaxLen {
            max_len: 2,
            specials: 2
        }
    ));
    assert!(contexts(&tokenizer, &["a"], frame, 1).is_err());
}

#[test]
fn a_tokenizer_without_an_end_is_refused() {
    let json = train_bpe(&texts(), 400).unwrap();
    assert_eq!(Frame::of(&tokenizer(&json), &[]).unwrap().end, 2);
    // The model's own comes first, and must be a token.
    assert_eq!(Frame::of(&tokenizer(&json), &[9, 2]).unwrap().end, 9);
    let refusal = Frame::of(&tokenizer(&json), &[9, 5000]).unwrap_err().to_string();
    assert!(refusal.contains("ends texts with token 5000"), "{refusal}");
    let json = json.replace("</s>", "<end>");
    let refusal = Frame::of(&tokenizer(&json), &[]).unwrap_err().to_string();
    assert!(refusal.contains("none of the tokens <|endoftext|>, </s>"), "{refusal}");
}

#[test]
fn answers_end_at_a_blank_line() {
    assert_eq!(answer(" a b\nc \n\nd<|endoftext|>e"), "a b\nc");
    assert_eq!(answer("<|endoftext|>a"), "");
}

/// Ids of GPT-2's own tokenizer, from its three forms: "Hello world" is known from its publication.
#[test]
fn the_genuine_tokenizer_is_read_from_all_its_forms() {
    let Some(data) = testing::data() else { return };
    let dir = data.join("tokenizers/gpt2");
    let text = "Hello world, isn't it? é\n\n";
    let of = |files: &[(&str, &str)]| {
        let folder = tempfile::tempdir().unwrap();
        for (from, to) in files {
            std::fs::copy(dir.join(from), folder.path().join(to)).unwrap();
        }
        let tokenizer = Tokenizer::from_dir(folder.path()).unwrap();
        assert_eq!(Frame::of(&tokenizer, &[]).unwrap().end, 50256);
        assert_eq!(tokenizer.token_id("ĊĊ"), Some(628));
        let ids = tokenizer.ids(&[text]).unwrap().remove(0);
        assert_eq!(tokenizer.decode(&ids).unwrap(), text);
        ids
    };
    let ids = of(&[("tokenizer.json", "tokenizer.json")]);
    assert_eq!(ids[..2], [15496, 995]);
    assert_eq!(ids, of(&[("encoder.json", "vocab.json"), ("vocab.bpe", "merges.txt")]));
    assert_eq!(ids, of(&[("encoder.json", "encoder.json"), ("vocab.bpe", "vocab.bpe")]));
}
