//! Sizes for people: one unit in every program, table and bar.

/// `14.2 MiB`: one decimal, in units of 1024, never rounded up.
pub fn bytes(bytes: u64) -> String {
    const UNITS: [(&str, u64); 3] = [("GiB", 1 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10)];
    match UNITS.iter().find(|(_, one)| bytes >= *one) {
        Some((unit, one)) => {
            let tenths = u128::from(bytes) * 10 / u128::from(*one);
            format!("{}.{} {unit}", tenths / 10, tenths % 10)
        }
        None => format!("{bytes} B"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_have_the_unit_that_a_person_would_use() {
        let texts = [0, 1023, 1536, 64 << 20, u64::MAX].map(bytes);
        assert_eq!(texts, ["0 B", "1023 B", "1.5 KiB", "64.0 MiB", "17179869183.9 GiB"]);
    }
}
