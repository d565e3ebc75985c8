//! Gives the sources the `Py_3_x` conditions and turns away interpreters that cannot be recorded.

fn main() {
    pyo3_build_config::use_pyo3_cfgs();
}
