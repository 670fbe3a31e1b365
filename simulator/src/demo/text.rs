//! Tables in plain text.

use std::fmt::Write;

/// Columns as wide as they must be: the first to the left, the others to the right.
pub(super) fn table<const N: usize>(head: [&str; N], rows: &[[String; N]]) -> String {
    let width = |column: usize| {
        let cells = rows.iter().map(|row| row[column].chars().count());
        cells.chain([head[column].chars().count()]).max().unwrap_or(0)
    };
    let mut text = String::new();
    for row in [head.map(str::to_owned)].iter().chain(rows) {
        let mut line = String::new();
        for (column, cell) in row.iter().enumerate() {
            // Writing to a string cannot fail.
            _ = match column {
                0 => write!(line, "{cell:<0$}", width(0)),
                _ => write!(line, "  {cell:>0$}", width(column)),
            };
        }
        text.push_str(line.trim_end());
        text.push('\n');
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_line_up() {
        let rows = [["t1".to_owned(), "6.1".to_owned()], ["t10".to_owned(), "12.0".to_owned()]];
        assert_eq!(
            table(["terminal", "s"], &rows),
            "terminal     s\nt1         6.1\nt10       12.0\n"
        );
    }
}
