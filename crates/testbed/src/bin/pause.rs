//! Holds a pod's namespaces open. It has nothing to do and no signal to
//! mind: the container runtime ends a sandbox with SIGKILL.

fn main() {
    loop {
        std::thread::park();
    }
}
