use super::tokenize;

fn tokens(line: &str) -> String {
    tokenize(&[line])[0].join(" ")
}

#[test]
fn words_and_signs() {
    for (text, wanted) in [
        (
            "It's near Smith's cafe; don't go (really).",
            "it 's near smith 's cafe ; do n't go -lrb- really -rrb- .",
        ),
        ("“The pub” isn’t £20–25…", "`` the pub '' is n't # 20 -- 25 ..."),
        (
            "U.S.-based, state-of-the-art and/or 5-star",
            "u.s.-based , state-of-the-art and/or 5-star",
        ),
        ("soft\u{ad}hyphen 🍽️ AT&T", "softhyphen at&t"),
        ("They cannot, and you're gonna.", "they can not , and you 're gon na ."),
        ("", ""),
    ] {
        assert_eq!(tokens(text), wanted);
    }
}

#[test]
fn periods_after_abbreviations() {
    assert_eq!(
        tokens("Mr. Smith of Smith Inc. The end"),
        "mr. smith of smith inc. . the end"
    );
    assert_eq!(tokens("in the U.S. now. No. 5 no."), "in the u.s. now . no. 5 no .");
    assert_eq!(
        tokenize(&["in the U.S.", "The next line"])[0].join(" "),
        "in the u.s. ."
    );
    assert_eq!(tokenize(&["in the U.S.", "next"])[0].join(" "), "in the u.s.");
}
