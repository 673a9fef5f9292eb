//! The container's network namespace, and its loopback interface.

use std::fs::File;
use std::os::fd::AsRawFd;

use nix::sched::{CloneFlags, setns, unshare};
use nix::sys::socket::{AddressFamily, MsgFlags, SockFlag, SockProtocol, SockType, recv, send, socket};

use super::error::{Doing, Failure};
use super::spec::Network;

const RTM_NEWLINK: u16 = 16;
const NLM_F_REQUEST: u16 = 1;
const NLM_F_ACK: u16 = 4;
const NLMSG_ERROR: u16 = 2;
const IFF_UP: u32 = 1;
/// The loopback interface is the first of every network namespace.
const LOOPBACK_INDEX: i32 = 1;

/// Enters or makes the network namespace; `Host` stays where we are.
pub(super) fn enter(network: &Network) -> Result<(), Failure> {
    match network {
        Network::Host => Ok(()),
        Network::Join(handle) => {
            let file = File::open(&handle.net)
                .doing(|| format!("open the network namespace {}", handle.net.display()))?;
            setns(file, CloneFlags::CLONE_NEWNET).doing(|| "enter the network namespace".to_owned())
        }
        Network::Isolated => {
            unshare(CloneFlags::CLONE_NEWNET).doing(|| "make a network namespace".to_owned())?;
            bring_up_loopback().doing(|| "bring up the loopback interface".to_owned())
        }
    }
}

/// Asks the kernel by netlink: the older way is an `ioctl`, which has no safe form.
fn bring_up_loopback() -> Result<(), String> {
    let text = |error: nix::Error| error.to_string();
    let socket =
        socket(AddressFamily::Netlink, SockType::Raw, SockFlag::SOCK_CLOEXEC, SockProtocol::NetlinkRoute)
            .map_err(text)?;
    send(socket.as_raw_fd(), &up_request(), MsgFlags::empty()).map_err(text)?;
    let mut answer = [0; 256];
    let count = recv(socket.as_raw_fd(), &mut answer, MsgFlags::empty()).map_err(text)?;
    match acknowledged(&answer[..count]) {
        Some(0) => Ok(()),
        Some(code) => Err(nix::Error::from_raw(-code).to_string()),
        None => Err("the kernel's answer is not understood".to_owned()),
    }
}

/// `struct nlmsghdr` and `struct ifinfomsg`, as linux/netlink.h and linux/rtnetlink.h have them.
fn up_request() -> Vec<u8> {
    let mut message = Vec::with_capacity(32);
    message.extend(32_u32.to_ne_bytes());
    message.extend(RTM_NEWLINK.to_ne_bytes());
    message.extend((NLM_F_REQUEST | NLM_F_ACK).to_ne_bytes());
    message.extend(1_u32.to_ne_bytes());
    message.extend(0_u32.to_ne_bytes());
    // Family, padding, hardware type.
    message.extend([0; 4]);
    message.extend(LOOPBACK_INDEX.to_ne_bytes());
    message.extend(IFF_UP.to_ne_bytes());
    // Which of the flags are meant.
    message.extend(IFF_UP.to_ne_bytes());
    message
}

/// The code in an acknowledgement: 0, or an error's number below it.
fn acknowledged(answer: &[u8]) -> Option<i32> {
    let kind = u16::from_ne_bytes(answer.get(4..6)?.try_into().ok()?);
    let code = i32::from_ne_bytes(answer.get(16..20)?.try_into().ok()?);
    (kind == NLMSG_ERROR).then_some(code)
}
