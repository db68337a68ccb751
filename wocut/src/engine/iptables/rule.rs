//! The text of one rule, as `iptables-save` prints it after `-A CHAIN`.

/// Splits rule text at blanks outside quotes, as `iptables-restore` does.
pub(crate) fn words(text: &str) -> Vec<String> {
    let (mut words, mut word) = (Vec::new(), None::<String>);
    let (mut quoted, mut escaped) = (false, false);
    for c in text.chars() {
        if !quoted && c.is_ascii_whitespace() {
            words.extend(word.take());
            continue;
        }
        let word = word.get_or_insert_default();
        match c {
            '\\' if quoted && !escaped => {
                escaped = true;
                continue;
            }
            '"' if !escaped => quoted = !quoted,
            _ => word.push(c),
        }
        escaped = false;
    }
    words.extend(word);
    words
}

/// The value of the first of these options.
pub(super) fn value<'a>(words: &'a [String], options: &[&str]) -> Option<&'a str> {
    let at = words.iter().position(|word| options.contains(&word.as_str()))?;
    words.get(at + 1).map(String::as_str)
}

/// The chain or target that a rule leads to.
pub(super) fn target(words: &[String]) -> Option<&str> {
    value(words, &["-j", "-g"])
}

/// What two texts of one rule have in common, whichever version of the tools printed them: the options in order of
/// their names, without the names of matches, which the options tell, and without the host prefix of an address.
pub(super) fn normal(text: &str) -> String {
    let mut options: Vec<String> = Vec::new();
    let mut in_match = false;
    let mut negated = false;
    for word in words(text) {
        match word.as_str() {
            "-m" | "--match" => in_match = true,
            "!" => negated = true,
            _ if in_match => in_match = false,
            option if option.starts_with('-') => {
                let not = if std::mem::take(&mut negated) { "! " } else { "" };
                options.push(format!("{not}{option}"));
            }
            value => {
                let value = canonical(value);
                match options.last_mut() {
                    Some(option) => *option = format!("{option} {value}"),
                    None => options.push(value),
                }
            }
        }
    }
    options.sort();
    options.join(" ")
}

/// The same value always in the same words.
fn canonical(value: &str) -> String {
    if let Some(address) = value.strip_suffix("/32").filter(|address| address.contains('.')) {
        return address.into();
    }
    if let Some(address) = value.strip_suffix("/128") {
        return address.into();
    }
    // The kernel holds a probability in 31 bits: tools differ in how many digits they print.
    if let Some(probability) = value.strip_prefix("0.").and_then(|_| value.parse::<f64>().ok()) {
        return format!("{probability:.9}");
    }
    value.into()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::{normal, target, words};

    #[test]
    fn a_target_inside_a_comment_is_no_target() {
        let text = r#"-m comment --comment "say \"x\" -j WOCUT" -j ACCEPT"#;
        assert_eq!(target(&words(text)), Some("ACCEPT"));
    }

    #[test]
    fn the_same_rule_in_other_words_is_the_same() {
        let ours =
            "-d 192.0.2.1/32 -p tcp -m tcp --dport 80 -m statistic --probability 0.33333333333 -g WOCUT-web";
        let theirs =
            "-p tcp -d 192.0.2.1 -m statistic --probability 0.33333333349 -m tcp --dport 80 -g WOCUT-web";
        assert_eq!(normal(ours), normal(theirs));
        assert_ne!(normal(ours), normal(&ours.replace("80", "81")));
        assert_ne!(normal("! -p tcp -j X"), normal("-p tcp -j X"));
    }

    proptest! {
        #[test]
        fn no_text_panics(text in "\\PC*") {
            target(&words(&text));
            normal(&text);
        }
    }
}
