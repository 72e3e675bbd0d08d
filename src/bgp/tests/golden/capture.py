#!/usr/bin/env python3
"""Makes the golden vectors in this folder: BIRD, FRR and GoBGP speak to each other over a veth between
two network namespaces, and what each of them sends is written down.

    capture.py FOLDER       as root; needs ip, bird, birdc, bgpd (FRR), vtysh, gobgpd, gobgp

Each file holds what one program sent in one scenario, a message per entry, in the order of sending;
a message that says the same as one before it is left out. Run again, the order of attributes and
the packing are the same; the values that a program draws by itself (BIRD's and FRR's restart
times, GoBGP's choice of router ID) come from the configurations below.
"""

import json
import os
import pathlib
import re
import socket
import struct
import subprocess
import sys
import tempfile
import time

NAMES = {1: "OPEN", 2: "UPDATE", 3: "NOTIFICATION", 4: "KEEPALIVE", 5: "ROUTE-REFRESH"}
LEFT, RIGHT = "192.0.2.1", "192.0.2.2"

BIRD_ROUTES = """
protocol device {}
protocol static four {
  ipv4;
  route 198.51.100.1/32 blackhole { bgp_community.add((64512,100)); bgp_community.add((65535,0));
    bgp_large_community.add((64512,1,2)); bgp_med = 50; };
  route 198.51.100.2/32 blackhole { bgp_community.add((64512,100)); bgp_community.add((65535,0));
    bgp_large_community.add((64512,1,2)); bgp_med = 50; };
  route 0.0.0.0/0 blackhole;
}
protocol static six {
  ipv6;
  route 2001:db8:1::1/128 blackhole { bgp_community.add((64512,100)); };
  route 2001:db8:1:8000::/49 blackhole { bgp_community.add((64512,100)); };
}
"""

# The second route has a path too long for a length of one octet.
FRR = """
hostname frr
router bgp %(asn)s
 bgp router-id 192.0.2.2
 no bgp ebgp-requires-policy
 no bgp network import-check
 no bgp default ipv4-unicast
 neighbor 192.0.2.1 remote-as %(peer)s
 neighbor 192.0.2.1 passive
 address-family ipv4 unicast
  neighbor 192.0.2.1 activate
  network 203.0.113.1/32 route-map attributes
  network 203.0.113.0/24 route-map long
 exit-address-family
 address-family ipv6 unicast
  neighbor 192.0.2.1 activate
  neighbor 192.0.2.1 route-map six out
  network 2001:db8:2::1/128
 exit-address-family
!
route-map attributes permit 10
 set community 64513:7 graceful-shutdown
 set large-community 4200000001:2:3
 set metric 10
!
route-map long permit 10
 set as-path prepend %(long)s
 set origin incomplete
!
route-map six permit 10
 set ipv6 next-hop global 2001:db8::2
!
"""

GOBGP = """
[global.config]
  as = 64513
  router-id = "192.0.2.2"
[[neighbors]]
  [neighbors.config]
    neighbor-address = "192.0.2.1"
    peer-as = 64513
  [neighbors.transport.config]
    passive-mode = true
  [neighbors.graceful-restart.config]
    enabled = true
    restart-time = 120
  [[neighbors.afi-safis]]
    [neighbors.afi-safis.config]
      afi-safi-name = "ipv4-unicast"
    [neighbors.afi-safis.mp-graceful-restart.config]
      enabled = true
  [[neighbors.afi-safis]]
    [neighbors.afi-safis.config]
      afi-safi-name = "ipv6-unicast"
    [neighbors.afi-safis.mp-graceful-restart.config]
      enabled = true
"""


def run(*command):
    return subprocess.run(command, check=True, text=True, capture_output=True).stdout


class Scenario:
    """Two namespaces with a veth between them, and the programs that run in them."""

    def __init__(self, link_local=True):
        self.link_local = link_local
        self.names = [f"golden-{os.getpid()}-{side}" for side in ("left", "right")]
        self.folder = tempfile.mkdtemp(prefix="golden-")
        os.chmod(self.folder, 0o777)
        self.programs = []

    def __enter__(self):
        for name in self.names:
            run("ip", "netns", "add", name)
        left, right = self.names
        run("ip", "-n", left, "link", "add", "veth0", "type", "veth", "peer", "veth0", "netns", right)
        for name, end in ((left, "1"), (right, "2")):
            run("ip", "-n", name, "link", "set", "lo", "up")
            if not self.link_local:
                run("ip", "-n", name, "link", "set", "veth0", "addrgenmode", "none")
            run("ip", "-n", name, "address", "add", f"192.0.2.{end}/24", "dev", "veth0")
            run("ip", "-n", name, "address", "add", f"2001:db8::{end}/64", "dev", "veth0", "nodad")
            run("ip", "-n", name, "link", "set", "veth0", "address", f"02:00:00:00:00:0{end}")
            run("ip", "-n", name, "link", "set", "veth0", "up")
        time.sleep(2)  # until the link-local addresses are no longer tentative
        self.heard = os.path.join(self.folder, "heard")
        self.start(left, sys.executable, __file__, "--listen", self.heard)
        time.sleep(1)
        return self

    def __exit__(self, *_):
        for program in reversed(self.programs):
            program.terminate()
            try:
                program.wait(10)
            except subprocess.TimeoutExpired:
                program.kill()
                program.wait()
        for name in self.names:
            run("ip", "netns", "del", name)

    def start(self, name, *command):
        program = subprocess.Popen(
            ["ip", "netns", "exec", name, *command], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        self.programs.append(program)

    def file(self, name, text):
        path = os.path.join(self.folder, name)
        pathlib.Path(path).write_text(text)
        os.chmod(path, 0o666)
        return path

    def bird(self, config):
        self.control = os.path.join(self.folder, "bird.ctl")
        self.start(self.names[0], "bird", "-f", "-c", self.file("bird.conf", config), "-s", self.control)

    def birdc(self, *words):
        return run("birdc", "-s", self.control, *words)

    def frr(self, config):
        self.start(
            self.names[1], "/usr/lib/frr/bgpd", "-Z", "-n", "-S", "-A", "127.0.0.1", "-P", "2605",
            "--vty_socket", self.folder, "-i", os.path.join(self.folder, "bgpd.pid"),
            "-z", os.path.join(self.folder, "zebra"), "-f", self.file("frr.conf", config),
        )  # fmt: skip

    def vtysh(self, *lines):
        words = [word for line in lines for word in ("-c", line)]
        return run("vtysh", "--vty_socket", self.folder, "-d", "bgpd", *words)

    def gobgpd(self, config):
        path = self.file("gobgp.toml", config)
        self.start(self.names[1], "gobgpd", "-f", path, "--api-hosts", "127.0.0.1:50051", "--pprof-disable")

    def gobgp(self, *words):
        return run("ip", "netns", "exec", self.names[1], "gobgp", *words)

    def established(self):
        for _ in range(120):
            if os.path.exists(self.control) and "Established" in self.birdc("show", "protocols", "peer"):
                time.sleep(3)  # until everything was sent
                return
            time.sleep(0.5)
        raise SystemExit("no session: " + self.birdc("show", "protocols", "all", "peer"))

    def sent_by(self, address):
        """What this end sent, connection by connection."""
        streams = {}
        for line in open(self.heard):
            source, ports, sequence, payload = json.loads(line)
            if source == address:
                streams.setdefault(tuple(ports), {})[sequence] = bytes.fromhex(payload)
        messages = []
        for stream in streams.values():
            octets = b"".join(stream[sequence] for sequence in sorted(stream))
            while octets:
                (length,) = struct.unpack("!H", octets[16:18])
                messages.append(octets[:length])
                octets = octets[length:]
        return list(dict.fromkeys(messages))


def listen(path):
    """Writes down every TCP segment with data on veth0."""
    wire = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(3))
    wire.bind(("veth0", 0))
    with open(path, "w", buffering=1) as out:
        while True:
            packet = wire.recv(65535)
            if packet[12:14] != b"\x08\x00" or packet[23] != 6:
                continue
            ip = packet[14:]
            header = (ip[0] & 15) * 4
            (total,) = struct.unpack("!H", ip[2:4])
            tcp = ip[header:total]
            source, target, sequence = struct.unpack("!HHI", tcp[:8])
            payload = tcp[(tcp[12] >> 4) * 4 :]
            if payload:
                entry = [socket.inet_ntoa(ip[12:16]), [source, target], sequence, payload.hex()]
                out.write(json.dumps(entry) + "\n")


def write(folder, name, comment, messages):
    lines = [f"# {line}" for line in comment]
    for message in messages:
        text = message.hex()
        lines.append("")
        lines.append(NAMES[message[18]])
        lines += ["  " + text[at : at + 96] for at in range(0, len(text), 96)]
    pathlib.Path(folder, name).write_text("\n".join(lines) + "\n")


def version(*command):
    shown = subprocess.run(command, text=True, capture_output=True)
    return re.search(r"\d+\.\d+(\.\d+)?", shown.stdout + shown.stderr)[0]


def external(folder):
    bird, frr = version("bird", "--version"), version("/usr/lib/frr/bgpd", "--version")
    # Without zebra, FRR does not know to which interface a link-local next hop belongs.
    with Scenario(link_local=False) as scenario:
        long = " ".join(["4200000002"] * 70)
        scenario.frr(FRR % {"asn": 4200000001, "peer": 64512, "long": long})
        scenario.bird(
            BIRD_ROUTES
            + """
router id 192.0.2.1;
protocol bgp peer {
  local 192.0.2.1 as 64512;
  neighbor 192.0.2.2 as 4200000001;
  hold time 90;
  connect delay time 1; error wait time 1, 2;
  ipv4 { import all; export where source = RTS_STATIC; };
  ipv6 { import all; export where source = RTS_STATIC; next hop address 2001:db8::1; };
}
"""
        )
        scenario.established()
        scenario.birdc("disable", "four")
        scenario.birdc("disable", "six")
        time.sleep(1)
        scenario.vtysh("clear bgp ipv4 unicast 192.0.2.1 soft in")
        scenario.birdc("reload", "in", "peer")
        time.sleep(1)
        scenario.vtysh("configure terminal", "router bgp 4200000001", "address-family ipv4 unicast",
                       "no network 203.0.113.1/32", "address-family ipv6 unicast",
                       "no network 2001:db8:2::1/128")  # fmt: skip
        time.sleep(2)
        scenario.birdc("disable", "peer", '"new cables, back at 14:00 – Zoë"')
        time.sleep(1)
        scenario.birdc("enable", "peer")
        scenario.established()
        scenario.vtysh("configure terminal", "router bgp 4200000001",
                       "neighbor 192.0.2.1 shutdown message planned work")  # fmt: skip
        time.sleep(2)
        comment = [f"BIRD {bird}, AS 64512, to FRR {frr}, AS 4200000001. Made by capture.py."]
        write(folder, "bird-external.txt", comment, scenario.sent_by(LEFT))
        comment = [f"FRR bgpd {frr}, AS 4200000001, to BIRD {bird}, AS 64512. Made by capture.py."]
        write(folder, "frr-external.txt", comment, scenario.sent_by(RIGHT))


def two_octets(folder):
    bird, frr = version("bird", "--version"), version("/usr/lib/frr/bgpd", "--version")
    with Scenario() as scenario:
        frr_config = FRR % {"asn": 64513, "peer": 4200000001, "long": "64500 64501"}
        scenario.frr(
            frr_config.replace(
                " neighbor 192.0.2.1 passive", " neighbor 192.0.2.1 passive\n neighbor 192.0.2.1 dont-capability-negotiate"
            )
        )
        scenario.bird(
            BIRD_ROUTES
            + """
router id 192.0.2.1;
protocol bgp peer {
  local 192.0.2.1 as 4200000001;
  neighbor 192.0.2.2 as 64513;
  connect delay time 1; error wait time 1, 2;
  ipv4 { import all; export where source = RTS_STATIC; };
}
"""
        )
        scenario.established()
        comment = [f"BIRD {bird}, AS 4200000001, to FRR {frr}, AS 64513, which has no capabilities. Made by capture.py."]
        write(folder, "bird-two-octets.txt", comment, scenario.sent_by(LEFT))
        comment = [f"FRR bgpd {frr} without capabilities, AS 64513, to BIRD {bird}, AS 4200000001. Made by capture.py."]
        write(folder, "frr-two-octets.txt", comment, scenario.sent_by(RIGHT))


def internal(folder):
    bird, gobgp = version("bird", "--version"), version("gobgpd", "--version")
    with Scenario() as scenario:
        scenario.gobgpd(GOBGP)
        scenario.bird(
            BIRD_ROUTES
            + """
router id 192.0.2.1;
protocol bgp peer {
  local 192.0.2.1 as 64513;
  neighbor 192.0.2.2 as 64513;
  connect delay time 1; error wait time 1, 2;
  default bgp_local_pref 150;
  ipv4 { import all; export where source = RTS_STATIC; next hop self; };
  ipv6 { import all; export where source = RTS_STATIC; next hop address 2001:db8::1; };
}
"""
        )
        scenario.established()
        rib = ("global", "rib")
        scenario.gobgp(*rib, "add", "203.0.113.9/32", "nexthop", "192.0.2.2", "origin", "igp", "community",
                       "64513:9,no-export", "large-community", "64513:1:9", "local-pref", "200", "med", "5")  # fmt: skip
        scenario.gobgp(*rib, "add", "-a", "ipv6", "2001:db8:9::9/128", "nexthop", "2001:db8::2", "origin", "egp")
        time.sleep(1)
        scenario.gobgp(*rib, "del", "203.0.113.9/32")
        scenario.gobgp(*rib, "del", "-a", "ipv6", "2001:db8:9::9/128")
        time.sleep(1)
        scenario.gobgp("neighbor", "192.0.2.1", "softresetin")
        time.sleep(1)
        scenario.gobgp("neighbor", "192.0.2.1", "shutdown", "--reason", "moving racks")
        time.sleep(2)
        comment = [f"BIRD {bird}, AS 64513, to GoBGP {gobgp} in the same AS. Made by capture.py."]
        write(folder, "bird-internal.txt", comment, scenario.sent_by(LEFT))
        comment = [f"GoBGP {gobgp}, AS 64513, to BIRD {bird} in the same AS. Made by capture.py."]
        write(folder, "gobgp-internal.txt", comment, scenario.sent_by(RIGHT))


if __name__ == "__main__":
    if sys.argv[1] == "--listen":
        listen(sys.argv[2])
    else:
        for scenario in (external, two_octets, internal):
            scenario(sys.argv[1])
