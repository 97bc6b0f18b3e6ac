package config

import (
	"encoding/json"
	"fmt"
	"reflect"
	"strings"

	"yatagarasu/gateway/config/access"
	"yatagarasu/gateway/config/file"
	"yatagarasu/gateway/config/frontend"
	"yatagarasu/gateway/config/site"
	"yatagarasu/gateway/config/upstream"
)

// Document returns c for people to read. With the secrets filled in, Parse would return
// c again.
func (c *Config) Document() file.Document {
	return documenter{c}.object(reflect.ValueOf(c).Elem())
}

// documenter makes the document of a configuration.
type documenter struct{ config *Config }

// object returns the document of a struct.
func (d documenter) object(v reflect.Value) file.Document {
	doc := file.Document{}
	for i := range v.NumField() {
		field := v.Type().Field(i)
		name := v.Type().Name() + "." + field.Name
		key := file.KeyOf(field)
		if origin, ok := v.Field(i).Interface().(upstream.Origin); ok {
			if name == "Replica.Origin" {
				origin.Credentials = upstream.Credentials{} // those of the bucket
			}
			doc = append(doc, d.object(reflect.ValueOf(origin))...)
			continue
		}
		if blocks, ok := v.Field(i).Interface().(site.Site); ok {
			doc = append(doc, d.object(reflect.ValueOf(blocks))...)
			continue
		}
		if key == "-" || d.implied(v, name) {
			continue
		}
		if rates, ok := v.Field(i).Interface().(frontend.Rates); ok {
			doc = append(doc, membersOf(rates)...)
			continue
		}
		if rate, ok := v.Field(i).Interface().(frontend.Rate); ok {
			if doc = append(doc, file.Member{Key: "token_failures_per_second", Value: rate.PerSecond}); rate.Burst > 0 {
				doc = append(doc, file.Member{Key: "burst_token_failures", Value: rate.Burst})
			}
			continue
		}
		value := d.value(v.Field(i))
		if name == "JWT.Audience" && v.FieldByName("AnyAudience").Bool() {
			value = access.AnyAudience
		}
		if name == "Hedge.After" && v.Field(i).Int() == 0 {
			value = upstream.P95
		}
		if text, ok := value.(string); ok {
			value = partlyMasked(name, text)
		}
		if value != nil {
			doc = append(doc, file.Member{Key: key, Value: value})
		}
	}
	return doc
}

// implied reports whether a field, named with its struct, is left out of the document.
func (d documenter) implied(v reflect.Value, name string) bool {
	switch name {
	case "Config.Cluster":
		return !v.FieldByName("Cluster").FieldByName("Enabled").Bool()
	case "Auth.JWT": // the bucket has none of its own
		return v.FieldByName("JWT").Interface().(*access.JWT) == d.config.JWT
	case "Cache.MaxSize", "Cache.Policy": // of the budget that buckets share
		return v.Addr().Interface().(*Cache) != d.config.Cache && !v.FieldByName("OwnBudget").Bool()
	case "JWT.JWKSMaxAge":
		return v.FieldByName("JWKSURL").Len()+v.FieldByName("JWKSFile").Len()+v.FieldByName("IssuerURL").Len() == 0
	case "JWT.JWKSOptional":
		return v.FieldByName("JWKSURL").Len()+v.FieldByName("IssuerURL").Len() == 0
	case "JWT.Introspection":
		return !v.FieldByName("Introspection").FieldByName("Enabled").Bool()
	case "S3.FailoverOn404":
		return v.FieldByName("Replicas").Len() == 0
	case "Origin.Credentials":
		return v.FieldByName("Credentials").FieldByName("Source").String() == upstream.SourceStatic
	case "Credentials.Duration":
		return v.FieldByName("Duration").Int() == 0
	case "Site.CORS":
		return v.FieldByName("CORS").FieldByName("Origins").Len() == 0
	case "Site.Compress":
		return !v.FieldByName("Compress").FieldByName("Enabled").Bool()
	case "Site.ContentTypes":
		types := v.FieldByName("ContentTypes")
		return !types.FieldByName("Guess").Bool() && types.FieldByName("Map").Len() == 0
	case "Site.Listing":
		return !v.FieldByName("Listing").FieldByName("Enabled").Bool()
	case "Site.Website":
		return v.FieldByName("Website").IsZero()
	case "Website.SPA":
		return v.FieldByName("SPA").IsZero()
	case "Site.Maintenance":
		return v.FieldByName("Maintenance").IsZero()
	case "HeaderRule.Match":
		return v.FieldByName("Match").Interface() == site.HeaderMatch{}
	case "S3.Hedge":
		return !v.FieldByName("Hedge").FieldByName("Enabled").Bool()
	case "Breaker.FailureRate", "Breaker.Consecutive", "Breaker.Cooldown":
		return !v.FieldByName("Enabled").Bool()
	}
	return false
}

// partlyMasked masks the part of a text that may be secret.
func partlyMasked(name, text string) string {
	switch name {
	case "Origin.AccessKey": // its end tells which one it is
		if len(text) < 16 {
			return file.Masked
		}
		return file.Masked + text[len(text)-4:]
	case "JWT.JWKSURL", "Introspection.URL":
		if address, _, ok := strings.Cut(text, "?"); ok {
			return address + "?" + file.Masked
		}
	}
	return text
}

// value returns the form of v in the document; nil for an empty value.
func (d documenter) value(v reflect.Value) any {
	switch value := v.Interface().(type) {
	case file.Secret:
		if value.Empty() {
			return nil
		}
		return value
	case json.Number:
		return value
	case Ignored:
		if names := value.names(); names != nil {
			return names
		}
		return nil
	case file.Pairs:
		if len(value) == 0 {
			return nil
		}
		doc := file.Document{}
		for _, p := range value {
			doc = append(doc, file.Member{Key: p.Name, Value: file.Literal(p.Value)})
		}
		return doc
	case fmt.Stringer: // a size, duration, percentage, network or template
		return value.String()
	}
	switch v.Kind() {
	case reflect.Struct:
		if doc := d.object(v); len(doc) > 0 {
			return doc
		}
		return nil
	case reflect.Pointer, reflect.Interface:
		if v.IsNil() {
			return nil
		}
		if text := v.Elem(); v.Kind() == reflect.Interface && text.Kind() == reflect.String && text.Len() == 0 {
			return "" // the value of a claim rule is not left out
		}
		return d.value(v.Elem())
	case reflect.Slice:
		if v.Len() == 0 {
			return nil
		}
		list := make([]any, v.Len())
		for i := range list {
			list[i] = d.value(v.Index(i))
		}
		return list
	case reflect.String:
		if v.Len() == 0 {
			return nil
		}
		return file.Literal(v.String())
	case reflect.Bool, reflect.Int, reflect.Float64:
		return v.Interface()
	}
	panic("BUG: the configuration has a value of a kind without a document: " + v.Type().String())
}

// membersOf returns the keys of a block of limits for r, without rates that are no limit.
func membersOf(r frontend.Rates) (list file.Document) {
	for _, one := range []struct {
		suffix string
		frontend.Rate
	}{{"", r.All}, {"_per_address", r.PerAddress}, {"_per_subject", r.PerSubject}} {
		if one.Rate != (frontend.Rate{}) {
			list = append(list, file.Member{Key: "requests_per_second" + one.suffix, Value: one.PerSecond}, file.Member{Key: "burst" + one.suffix, Value: one.Burst})
		}
	}
	return list
}
