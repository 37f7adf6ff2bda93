//! Words into lines.

/// Breaks `text` at spaces into lines of at most `width` columns, the first after `first` columns
/// that are already written, the others behind `indent` spaces. A word longer than a line stands
/// alone and is not cut: it may be a path that somebody wants to copy.
pub fn wrap(text: &str, width: usize, first: usize, indent: usize) -> String {
    let mut out = String::with_capacity(text.len() + 16);
    let mut column = first;
    let mut at_start = true;
    for word in text.split(' ').filter(|w| !w.is_empty()) {
        let length = word.chars().count();
        if !at_start {
            if column + 1 + length > width {
                out.push('\n');
                out.extend(std::iter::repeat_n(' ', indent));
                column = indent;
            } else {
                out.push(' ');
                column += 1;
            }
        }
        out.push_str(word);
        column += length;
        at_start = false;
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn breaks_at_spaces() {
        assert_eq!(wrap("aa bb cc", 5, 0, 0), "aa bb\ncc");
        assert_eq!(wrap("aa bb cc", 8, 3, 1), "aa bb\n cc");
        assert_eq!(
            wrap("/a/very/long/path b", 5, 0, 2),
            "/a/very/long/path\n  b"
        );
        assert_eq!(wrap("", 5, 0, 2), "");
    }
}
