package config

import (
	"net/netip"
	"slices"
	"strconv"
	"strings"

	"yatagarasu/gateway/config/access"
	"yatagarasu/gateway/config/file"
	"yatagarasu/gateway/config/form"
	"yatagarasu/gateway/config/frontend"
	"yatagarasu/gateway/config/site"
	"yatagarasu/gateway/config/upstream"
)

// decodeBucket decodes one item of buckets. It is not ok for an item that is no mapping.
func decodeBucket(d *file.Decoder, n *file.Node, global *access.Global, defaults *cacheBlock) (b Bucket, ok bool) {
	b.S3 = upstream.Default()
	o := d.Fill(n, "buckets[]", &b)
	if o.Node == nil {
		return Bucket{}, false
	}
	o.Need("name", "give the bucket a unique name")
	b.Hosts = decodeHosts(d, o)
	checkPrefix(d, o, &b)
	o.Need("s3", "say where the objects are")
	b.Auth = access.Decode(d, o.Get("auth"), global)
	b.Headers = site.DecodeHeaderRules(d, o)
	if b.Listing.Enabled && b.S3.AccessDenied == 404 {
		d.Warn(o.Get("listing"), "will hardly list anything: s3.access_denied is 404, as for a credential that may not list the bucket", "let the credential list the bucket and remove s3.access_denied, or remove the listing")
	}
	block := decodeCache(d, o.Get("cache"), defaults)
	if block.set {
		b.Cache = &block.Cache
	}
	if b.Compress.Enabled && (b.Cache == nil || !b.Cache.Enabled) {
		d.Fail(o.Get("compress"), "has no effect without a cache: objects in memory are compressed, once each", "set cache.enabled: true, or remove it")
	}
	if at := d.Within(o.Get("compress")).Get("min_size"); at != nil && b.Compress.Enabled && b.Cache != nil && b.Cache.Enabled && b.Compress.MinSize > b.Cache.MaxObjectSize {
		d.Fail(at, "is more than cache.max_object_size, which is "+b.Cache.MaxObjectSize.String()+": nothing is ever that large in memory", "lower it, or raise max_object_size")
	}
	checkWebsite(d, o, &b)
	checkMatches(d, o, &b)
	if b.Limits.Rates.PerSubject != (frontend.Rate{}) && !b.Auth.Enabled {
		at := d.Within(o.Get("limits")).Get("requests_per_second_per_subject")
		d.Fail(at, "has no effect: the bucket asks for no token", "set auth.enabled: true, or remove it")
	}
	b.Allow, b.Deny = frontend.DecodeAddresses(o)
	return b, true
}

func decodeHosts(d *file.Decoder, o file.Object) []string {
	var hosts []string
	o.Strings("hosts", func(n *file.Node, text string, _ bool) {
		host, problem, fix := canonicalHost(text)
		switch {
		case problem != "":
			d.Fail(n, problem, fix)
		case slices.Contains(hosts, host):
			d.Fail(n, "is in the list twice", "remove one of them")
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
	if !form.IsHostName(host) {
		return "", "is no host name", "use a DNS name (punycode for other letters than ASCII) or an IP address"
	}
	return host, "", ""
}

// checkPrefix checks the bucket's prefix, which is "" after a mistake.
func checkPrefix(d *file.Decoder, o file.Object, b *Bucket) {
	if !o.Has("path_prefix") && o.Has("hosts") {
		b.PathPrefix = "/"
		return
	}
	o.Need("path_prefix", "add one such as \"/assets\"; only a bucket with hosts may leave it out")
	switch first, _, _ := strings.Cut(strings.TrimPrefix(b.PathPrefix, "/"), "/"); first {
	case "health", "ready", "metrics", "admin":
		d.Fail(o.Get("path_prefix"), "begins with a segment that the gateway keeps for itself: health, ready, metrics or admin", "choose another first segment")
		b.PathPrefix = ""
	}
}

// uniqueness has the first bucket with each name, and with each route.
type uniqueness struct {
	names  map[string]*file.Node
	routes map[[2]string]*file.Node // host, prefix
}

// add adds b, which is item, and reports a name or route that an earlier bucket has.
func (s *uniqueness) add(d *file.Decoder, item *file.Node, b *Bucket) {
	o := d.Within(item)
	if first := s.names[b.Name]; b.Name != "" && first != nil {
		d.Fail(o.Get("name"), "is the name of "+first.Path+" in line "+strconv.Itoa(first.Line)+" too", "give each bucket its own name")
	} else {
		s.names[b.Name] = item
	}
	hosts, at := b.Hosts, o.Get("path_prefix")
	if !o.Has("hosts") {
		hosts = []string{""}
	} else if at == nil {
		at = o.Get("hosts")
	}
	for _, host := range hosts {
		key := [2]string{host, b.PathPrefix}
		if first := s.routes[key]; b.PathPrefix != "" && first != nil {
			d.Fail(at, "is the prefix of "+first.Path+" in line "+strconv.Itoa(first.Line)+" too, on the same host", "give each bucket its own prefix or hosts")
			return
		}
		s.routes[key] = item
	}
}
