//! Figures and tables in plain text.

use std::fmt::Write;

/// `14.2 MB`; decimal, as lines are sold.
pub(super) fn bytes(bytes: u64) -> String {
    // Three digits are shown, a float has fifteen.
    #[expect(clippy::cast_precision_loss)]
    let value = bytes as f64;
    match bytes {
        0..1_000 => format!("{bytes} B"),
        1_000..1_000_000 => format!("{:.1} kB", value / 1e3),
        1_000_000..1_000_000_000 => format!("{:.1} MB", value / 1e6),
        _ => format!("{:.2} GB", value / 1e9),
    }
}

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
    fn bytes_have_the_unit_a_person_would_use() {
        let texts = [0, 999, 1_500, 14_230_000, 2_000_000_000].map(bytes);
        assert_eq!(texts, ["0 B", "999 B", "1.5 kB", "14.2 MB", "2.00 GB"]);
    }

    #[test]
    fn columns_line_up() {
        let rows = [["t1".to_owned(), "6.1".to_owned()], ["t10".to_owned(), "12.0".to_owned()]];
        assert_eq!(
            table(["terminal", "s"], &rows),
            "terminal     s\nt1         6.1\nt10       12.0\n"
        );
    }
}
