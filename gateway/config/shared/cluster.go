// Package shared has the block cluster: what the gateways behind one balancer share, and the server
// by which they do. The rooms above decode the file, and have blocks check themselves.
package shared

import (
	"net"
	"regexp"
	"time"

	"yatagarasu/gateway/config/file"
	"yatagarasu/gateway/config/form"
)

// Cluster is what several gateways behind one balancer share. The zero value: nothing.
type Cluster struct {
	// Enabled is whether the block is there. Where it is false, nothing else is set.
	Enabled bool `key:"-"`

	// Valkey is the server that they share.
	Valkey Valkey

	// Namespace is part of the names of all keys at the server: gateways with the same one
	// belong together. Letters, digits, '_' and '-', at most 64. Default "default".
	Namespace string `form:"namespace"`

	// Secret proves that what is read from the server is of one of the gateways, and the keys of
	// objects there are made from it. 32 bytes or more.
	Secret file.Secret

	// PreviousSecret was Secret before, and counts as well while gateways change to the new
	// one. 32 bytes or more, and another than Secret. Empty: there is none.
	PreviousSecret file.Secret

	// Purge says when purges have reached the others.
	Purge ClusterPurge

	// Store says which objects the gateways share.
	Store ClusterStore

	// Limits says whether the gateways share the rates of server.limits and of buckets.
	Limits ClusterLimits
}

// Valkey is a Valkey or Redis server, or several that act as one.
type Valkey struct {
	// Addresses are host:port, each once: the server where Mode is ValkeyStandalone, else
	// one or more of the sentinels or nodes, which know the others.
	Addresses []string `form:"-"`

	// Mode is ValkeyStandalone, the default, ValkeySentinel or ValkeyCluster.
	Mode string `of:"standalone, sentinel, cluster"`

	// MasterName is the primary's name at the sentinels. Empty but with ValkeySentinel.
	MasterName string `form:"name of a primary"`

	// Username is the user at the server, which has a Password. Empty: the server's default
	// user.
	Username string `form:"user at Valkey"`

	// Password is that of Username. Empty: there is none.
	Password file.Secret

	ValkeyTLS `key:"tls"`
}

// ValkeyTLS is the TLS side of connections to Valkey.
type ValkeyTLS struct {
	// TLS encrypts the connections. Default false.
	TLS bool `key:"enabled"`

	// CAFile is a PEM bundle of the authorities trusted for Valkey in place of the system's.
	// Where TLS, it held a certificate. Empty: the system's.
	CAFile string `key:"ca_file" form:"-"`
}

// The modes of Valkey.
const (
	ValkeyStandalone = "standalone"
	ValkeySentinel   = "sentinel"
	ValkeyCluster    = "cluster"
)

// ClusterPurge says when purges have reached the other gateways.
type ClusterPurge struct {
	// Within is the time after which a purge is in effect on a gateway that is cut off from
	// Valkey, too: what it has in memory is stale from then on. From 2 s to 1 h; 0: never.
	// Default 30 s.
	Within time.Duration

	// Wait is how long the call waits for the other gateways to confirm a purge. 0: not at
	// all. At most 30 s, default 1 s.
	Wait time.Duration

	// Replicas is the number of replicas of Valkey that must have a purge before the call
	// confirms it. Default 0.
	Replicas int `most:"8"`
}

// ClusterStore says which objects of buckets with config.Cache.Shared the gateways keep at Valkey, for
// each other: whole small ones, encrypted. Who may read one is judged before, on each request.
type ClusterStore struct {
	// Enabled reads and writes objects at Valkey. Default false.
	Enabled bool

	// MaxObjectSize is the largest object that is kept there: from 1 byte to 4 MB, and no more
	// than a bucket's config.Cache.MaxObjectSize where that is less. Default 256 KB.
	MaxObjectSize file.Size

	// MaxTTL is the longest time that an object is kept there, whatever its freshness. From 1 s
	// to 720 h, default 24 h.
	MaxTTL time.Duration `least:"1s"`

	// Timeout is how long a request waits for Valkey before S3 is asked. From 1 ms to 1 s,
	// default 25 ms.
	Timeout time.Duration `least:"1ms"`

	// WriteQueue bounds the memory of objects that are on their way to Valkey; with more, they
	// are not kept there. From 1 MB to 1 GB, not below MaxObjectSize. Default 64 MB.
	WriteQueue file.Size

	// Admit says when an object is kept: AdmitFirst, the default, when a gateway has fetched it, or
	// AdmitSecond, when gateways have fetched it twice within MaxTTL.
	Admit string `of:"first, second"`
}

// The values of Admit.
const (
	AdmitFirst  = "first"
	AdmitSecond = "second"
)

// ClusterLimits says whether gateways share the rates that requests are held against. Requests under
// way are counted by each alone.
type ClusterLimits struct {
	// Enabled shares them. Default false.
	Enabled bool

	// Sync is how often each gateway tells what it took, and is told what is left. From 50 ms to
	// 10 s, default 200 ms.
	Sync time.Duration `least:"50ms"`
}

const (
	// minClusterSecret is the least length of a secret, in bytes: the size of HMAC-SHA256.
	minClusterSecret = 32

	// Below the least time, a pause at Valkey that nobody notices would make memory stale.
	leastPurgeWithin   = 2 * time.Second
	longestPurgeWithin = time.Hour
	longestPurgeWait   = 30 * time.Second

	// An object is one value at Valkey, and what is larger would hold up the commands behind it.
	largestShared       file.Size = 4e6
	longestShared                 = 30 * 24 * time.Hour
	longestStoreTimeout           = time.Second
	longestSync                   = 10 * time.Second
	leastWriteQueue     file.Size = 1e6
	mostWriteQueue      file.Size = 1e9
)

// The forms of names at Valkey.
var (
	namespaceForm = regexp.MustCompile(`^[A-Za-z0-9_-]{1,64}$`)
	primaryForm   = regexp.MustCompile(`^[A-Za-z0-9._-]{1,128}$`) // the letters that sentinels take
)

// Default returns the defaults of a block cluster. That of Valkey.Mode comes with its check.
func Default() Cluster {
	return Cluster{
		Namespace: "default",
		Purge:     ClusterPurge{Within: 30 * time.Second, Wait: time.Second},
		Limits:    ClusterLimits{Sync: 200 * time.Millisecond},
		Store:     ClusterStore{MaxObjectSize: 256e3, MaxTTL: 24 * time.Hour, Timeout: 25 * time.Millisecond, WriteQueue: 64e6, Admit: AdmitFirst},
	}
}

// Check implements file.Checker.
func (c *Cluster) Check(d *file.Decoder, o file.Object) {
	if o.Node == nil {
		*c = Cluster{}
		return
	}
	c.Enabled = true
	o.Need("valkey", "say where the server is that the gateways share, such as valkey: { addresses: \"valkey:6379\" }")
	o.Need("secret", "set one secret for all gateways: openssl rand -hex 32")
	for key, secret := range map[string]file.Secret{"secret": c.Secret, "previous_secret": c.PreviousSecret} {
		if !secret.Empty() && len(secret.Reveal()) < minClusterSecret {
			d.Fail(o.Get(key), "is shorter than 32 bytes", "make one: openssl rand -hex 32")
		}
	}
	if !c.Secret.Empty() && c.PreviousSecret == c.Secret {
		d.Fail(o.Get("previous_secret"), "is the same as secret", "write the one that secret replaces, or remove it")
	}
}

// Check implements file.Checker.
func (v *Valkey) Check(d *file.Decoder, o file.Object) {
	o.Need("addresses", "name the server, such as \"valkey:6379\"")
	o.StringOrList("addresses", func(n *file.Node, text string, _ bool) {
		if !isServerAddress(text) {
			d.Fail(n, "is no host:port", "write such as \"valkey:6379\", \"10.1.2.3:6379\" or \"[::1]:6379\", without a scheme")
			return
		}
		v.Addresses = append(v.Addresses, text)
	})
	if !o.Has("mode") && !o.Misspells("mode") {
		v.Mode = ValkeyStandalone
	}
	switch { // without a mode, there is a mistake in it
	case v.Mode == ValkeyStandalone && len(v.Addresses) > 1:
		d.Fail(o.Get("addresses"), "has several addresses, and mode standalone is for one", "keep one address, or set mode: cluster or mode: sentinel")
	case v.Mode == ValkeySentinel:
		o.Need("master_name", "write the primary's name at the sentinels, such as mymaster")
	}
	if v.Mode != ValkeySentinel && v.Mode != "" && o.Has("master_name") {
		d.Fail(o.Get("master_name"), "has no effect with mode "+v.Mode, "remove it, or set mode: sentinel")
	}
	if o.Has("username") && !o.Has("password") && !o.Misspells("password") {
		d.Fail(o.Get("username"), "is there without a password", "add password, or remove it")
	}
}

// isServerAddress reports whether s is host:port of a server to connect to.
func isServerAddress(s string) bool {
	host, port, err := net.SplitHostPort(s)
	return err == nil && form.IsHost(host) && form.IsPort(port, 1)
}

// Check implements file.Checker.
func (t *ValkeyTLS) Check(d *file.Decoder, o file.Object) {
	d.NeedEnabled(o)
	t.CAFile, _ = d.Authorities(o.Get("ca_file"), "", "", t.TLS)
}

// Check implements file.Checker.
func (p *ClusterPurge) Check(d *file.Decoder, o file.Object) {
	switch {
	case p.Within > 0 && p.Within < leastPurgeWithin:
		d.Fail(o.Get("within"), "is too short", "write at least 2s, or 0 to switch it off")
	case p.Within > longestPurgeWithin:
		d.Fail(o.Get("within"), "is too long", "write at most 1h, or 0 to switch it off")
	}
	if p.Wait > longestPurgeWait {
		d.Fail(o.Get("wait"), "is too long", "write at most 30s")
	}
}

// Check implements file.Checker.
func (s *ClusterStore) Check(d *file.Decoder, o file.Object) {
	d.NeedEnabled(o)
	if s.MaxTTL > longestShared {
		d.Fail(o.Get("max_ttl"), "is too long", "write at most 720h")
	}
	if s.Timeout > longestStoreTimeout {
		d.Fail(o.Get("timeout"), "is too long", "write at most 1s")
	}
	large := s.MaxObjectSize > largestShared
	if large {
		d.Fail(o.Get("max_object_size"), "is too large", "write at most "+largestShared.String())
	}
	switch {
	case s.WriteQueue < leastWriteQueue:
		d.Fail(o.Get("write_queue"), "is too small to be of use", "write at least "+leastWriteQueue.String())
	case s.WriteQueue > mostWriteQueue:
		d.Fail(o.Get("write_queue"), "is too large", "write at most "+mostWriteQueue.String())
	case s.WriteQueue < s.MaxObjectSize && !large:
		d.Fail(o.Get("write_queue"), "is less than max_object_size, which is "+s.MaxObjectSize.String()+": the largest objects would never be written", "raise it, or lower max_object_size")
	}
}

// Check implements file.Checker.
func (l *ClusterLimits) Check(d *file.Decoder, o file.Object) {
	d.NeedEnabled(o)
	if l.Sync > longestSync {
		d.Fail(o.Get("sync"), "is too long", "write at most 10s")
	}
}
