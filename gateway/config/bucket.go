package config

import (
	"net/netip"
	"slices"
	"strconv"
	"strings"
)

// bucket decodes one item of buckets. It is not ok for an item that is no mapping.
func (d *decoder) bucket(n *node, global *globalJWT, defaults *cacheBlock) (b Bucket, ok bool) {
	b.S3 = defaultS3()
	o := d.fill(n, "buckets[]", &b)
	if o.n == nil {
		return Bucket{}, false
	}
	o.need("name", "give the bucket a unique name")
	b.Hosts = d.hosts(o)
	d.checkPrefix(o, &b)
	o.need("s3", "say where the objects are")
	b.Auth = d.auth(o.get("auth"), global)
	b.Headers = d.headerRules(o)
	if b.Listing.Enabled && b.S3.AccessDenied == 404 {
		d.warn(o.get("listing"), "will hardly list anything: s3.access_denied is 404, as for a credential that may not list the bucket", "let the credential list the bucket and remove s3.access_denied, or remove the listing")
	}
	block := d.cacheBlock(o.get("cache"), defaults)
	if block.set {
		b.Cache = &block.Cache
	}
	if b.Compress.Enabled && (b.Cache == nil || !b.Cache.Enabled) {
		d.fail(o.get("compress"), "has no effect without a cache: objects in memory are compressed, once each", "set cache.enabled: true, or remove it")
	}
	if at := d.within(o.get("compress")).get("min_size"); at != nil && b.Compress.Enabled && b.Cache != nil && b.Cache.Enabled && b.Compress.MinSize > b.Cache.MaxObjectSize {
		d.fail(at, "is more than cache.max_object_size, which is "+b.Cache.MaxObjectSize.String()+": nothing is ever that large in memory", "lower it, or raise max_object_size")
	}
	d.checkWebsite(o, &b)
	d.checkMatches(o, &b)
	if b.Limits.Rates.PerSubject != (Rate{}) && !b.Auth.Enabled {
		at := d.within(o.get("limits")).get("requests_per_second_per_subject")
		d.fail(at, "has no effect: the bucket asks for no token", "set auth.enabled: true, or remove it")
	}
	b.Allow, b.Deny = o.addresses()
	return b, true
}

func (d *decoder) hosts(o object) []string {
	var hosts []string
	o.strings("hosts", func(n *node, text string, _ bool) {
		host, problem, fix := canonicalHost(text)
		switch {
		case problem != "":
			d.fail(n, problem, fix)
		case slices.Contains(hosts, host):
			d.fail(n, "is in the list twice", "remove one of them")
		default:
			hosts = append(hosts, host)
		}
	})
	return hosts
}

// canonicalHost returns the form in which hosts are compared.
func canonicalHost(s string) (host, problem, fix string) {
	host = strings.ToLower(s)
	if strings.HasPrefix(host, "[") && strings.HasSuffix(host, "]") {
		host = host[1 : len(host)-1]
	}
	if a, err := netip.ParseAddr(host); err == nil && a.Zone() == "" {
		return a.String(), "", ""
	}
	switch {
	case strings.Contains(s, "*"):
		return "", "is a wildcard", "list each host name"
	case strings.Contains(s, ":"):
		return "", "has a port or scheme", "name the host alone; it matches on every port"
	}
	if len(host) > 1 {
		host = strings.TrimSuffix(host, ".")
	}
	if !isHostName(host) {
		return "", "is no host name", "use a DNS name (punycode for other letters than ASCII) or an IP address"
	}
	return host, "", ""
}

// checkPrefix checks the bucket's prefix, which is "" after a mistake.
func (d *decoder) checkPrefix(o object, b *Bucket) {
	if !o.has("path_prefix") && o.has("hosts") {
		b.PathPrefix = "/"
		return
	}
	o.need("path_prefix", "add one such as \"/assets\"; only a bucket with hosts may leave it out")
	switch first, _, _ := strings.Cut(strings.TrimPrefix(b.PathPrefix, "/"), "/"); first {
	case "health", "ready", "metrics", "admin":
		d.fail(o.get("path_prefix"), "begins with a segment that the gateway keeps for itself: health, ready, metrics or admin", "choose another first segment")
		b.PathPrefix = ""
	}
}

// uniqueness has the first bucket with each name, and with each route.
type uniqueness struct {
	names  map[string]*node
	routes map[[2]string]*node // host, prefix
}

// add adds b, which is item, and reports a name or route that an earlier bucket has.
func (s *uniqueness) add(d *decoder, item *node, b *Bucket) {
	o := d.within(item)
	if first := s.names[b.Name]; b.Name != "" && first != nil {
		d.fail(o.get("name"), "is the name of "+first.path+" in line "+strconv.Itoa(first.line)+" too", "give each bucket its own name")
	} else {
		s.names[b.Name] = item
	}
	hosts, at := b.Hosts, o.get("path_prefix")
	if !o.has("hosts") {
		hosts = []string{""}
	} else if at == nil {
		at = o.get("hosts")
	}
	for _, host := range hosts {
		key := [2]string{host, b.PathPrefix}
		if first := s.routes[key]; b.PathPrefix != "" && first != nil {
			d.fail(at, "is the prefix of "+first.path+" in line "+strconv.Itoa(first.line)+" too, on the same host", "give each bucket its own prefix or hosts")
			return
		}
		s.routes[key] = item
	}
}
