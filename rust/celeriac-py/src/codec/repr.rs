//! The bounded representation for `argsrepr`, `kwargsrepr` and logs.

use pyo3::prelude::*;

/// TODO.
#[pyfunction]
#[pyo3(signature = (value, max_chars = 1024, max_levels = 3))]
pub(super) fn bounded_repr(value: &Bound<'_, PyAny>, max_chars: usize, max_levels: usize) -> PyResult<String> {
    let _ = max_levels;
    let text: String = value.repr()?.extract()?;
    Ok(if text.chars().count() > max_chars { text.chars().take(max_chars).collect::<String>() + "..." } else { text })
}
