package config

import (
	"net"
	"slices"
	"strconv"
	"strings"

	"yatagarasu/gateway/config/access"
	"yatagarasu/gateway/config/file"
	"yatagarasu/gateway/config/frontend"
	"yatagarasu/gateway/config/site"
)

// checkClusterUse reports caches that have nowhere to share their objects, and warns of a cluster
// without a cache that shares. o is the whole file, and sharing is where it has shared: true.
func checkClusterUse(d *file.Decoder, o file.Object, c *Config, sharing []*file.Node) {
	if !c.Cluster.Store.Enabled {
		for _, at := range sharing {
			d.Fail(at, "needs a place to share", "set cluster.store.enabled: true, or remove it")
		}
	}
	cached := func(b Bucket) bool { return b.Cache != nil && b.Cache.Enabled }
	shared := func(b Bucket) bool { return b.Cache != nil && b.Cache.Shared }
	switch {
	case c.Cluster.Enabled && !slices.ContainsFunc(c.Buckets, cached):
		d.Warn(o.Get("cluster"), "shares the purges of caches, and no bucket has a cache", "set cache.enabled: true, or remove the block")
	case c.Cluster.Store.Enabled && !slices.ContainsFunc(c.Buckets, shared):
		d.Warn(d.Within(o.Get("cluster")).Get("store"), "is for the objects of buckets that share them, and none does", "set cache.shared: true, or remove the block")
	}
}

// checkSubjects reports a limit for subjects where no bucket asks for a token.
func checkSubjects(d *file.Decoder, c *Config, server file.Object) {
	if c.Server.Limits.Rates.PerSubject == (frontend.Rate{}) || len(c.Buckets) == 0 {
		return
	}
	if slices.ContainsFunc(c.Buckets, func(b Bucket) bool { return b.Auth.Enabled }) {
		return
	}
	o := d.Within(server.Get("limits"))
	d.Fail(o.Get("requests_per_second_per_subject"), "has no effect: no bucket asks for a token", "set auth.enabled: true on the private buckets, or remove it")
}

// checkPorts reports two listeners that cannot both open.
func checkPorts(d *file.Decoder, o file.Object, c *Config) {
	metrics, redirect := "", ""
	if c.Metrics.Enabled {
		metrics = net.JoinHostPort(c.Metrics.Address, strconv.Itoa(c.Metrics.Port))
	}
	if c.Server.HTTPS.Enabled {
		redirect = c.Server.HTTPS.RedirectAddress
	}
	at := o.Get("metrics")
	if port := d.Within(at).Get("port"); port != nil {
		at = port
	}
	if collide(c.Server.Address, metrics) {
		d.Fail(at, "the metrics listener has the port of server.address", "change metrics.port or metrics.address")
	}
	if collide(redirect, metrics) {
		d.Fail(at, "the metrics listener has the port of server.https.redirect_address", "change metrics.port or metrics.address")
	}
	if collide(c.Server.Address, redirect) {
		https := d.Within(d.Within(o.Get("server")).Get("https"))
		d.Fail(https.Get("redirect_address"), "has the port of server.address", "choose another port, such as 8081")
	}
}

// collide reports whether two listeners cannot both open. An empty address is of none.
func collide(a, b string) bool {
	hostA, portA, err := net.SplitHostPort(a)
	hostB, portB, err2 := net.SplitHostPort(b)
	wild := func(h string) bool { return h == "" || h == "0.0.0.0" || h == "::" }
	return err == nil && err2 == nil && portA != "0" && portA == portB && (hostA == hostB || wild(hostA) || wild(hostB))
}

// checkMatches warns of what b's rules hardly ever meet. o is the bucket.
func checkMatches(d *file.Decoder, o file.Object, b *Bucket) {
	var paths []*file.Node
	if at := o.Get("headers"); at != nil {
		for _, item := range at.Items {
			rule := d.Within(item)
			match := d.Within(rule.Get("match"))
			if at := match.Get("path"); at != nil {
				paths = append(paths, at)
			}
			at, when := match.Get("content_type"), rule.Get("when")
			if at != nil && when != nil && when.Text == "always" && len(b.Website.ErrorDocuments) == 0 {
				d.Warn(at, "is never met by errors, which have no type", "leave out when: always, or the type")
			}
		}
	}
	if at := d.Within(o.Get("listing")).Get("paths"); at != nil {
		paths = append(paths, at.Items...)
	}
	for _, at := range paths {
		if b.PathPrefix != "" && b.PathPrefix != "/" && strings.HasPrefix(at.Text+"/", b.PathPrefix+"/") {
			d.Warn(at, "begins with path_prefix, below which it is already", "leave path_prefix out of it")
		}
	}
}

// checkWebsite checks what the website of b wants of the bucket's other blocks. o is the bucket.
func checkWebsite(d *file.Decoder, o file.Object, b *Bucket) {
	site := d.Within(o.Get("website"))
	if site.Node == nil || site.Node.Kind != file.Map {
		return
	}
	if at := site.Get("error_documents"); at != nil {
		documents := b.Website.ErrorDocuments
		for _, item := range at.Items {
			if item.Kind == file.Map { // else it was reported, and is no document
				checkErrorDocument(d, d.Within(item), documents[0], &b.Auth)
				documents = documents[1:]
			}
		}
	}
	if at := site.Get("spa"); at != nil && b.Website.SPA.Fallback != "" && b.Cache != nil && b.Cache.Enabled && b.Cache.NegativeTTL == 0 {
		d.Warn(at, "has the origin asked at each request for a page of the application, as that there is no such object is not remembered", "set cache.negative_ttl, such as 10s")
	}
}

// checkErrorDocument checks that who gets an error document, which is item, may read it. Without a
// token, that is only what is public.
func checkErrorDocument(d *file.Decoder, item file.Object, e site.ErrorDocument, a *access.Auth) {
	switch {
	case e.Key == "" || e.Status != 401 && e.Status != 403: // or it was reported
	case e.Status == 401 && !a.Enabled:
		d.Fail(item.Get("status"), "has no effect: the bucket asks for no token", "set auth.enabled: true, or remove it")
	case a.Enabled && !a.IsPublic(e.Key):
		d.Fail(item.Get("key"), "is not public: who gets this error may not read it", "add a rule with its path and enabled: false to auth.rules")
	}
}
