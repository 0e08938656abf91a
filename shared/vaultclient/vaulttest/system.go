package vaulttest

import (
	"net/http"
	"strconv"
	"strings"
)

// health answers as the state of the server has it, with statuses that queries may change.
func (s *Server) health(c *call) answer {
	status, code := http.StatusOK, "activecode"
	switch {
	case s.sealed:
		status, code = http.StatusServiceUnavailable, "sealedcode"
	case s.limited:
		status, code = 473, "performancestandbycode"
	case s.active != "":
		status, code = http.StatusTooManyRequests, "standbycode"
	}
	if other, err := strconv.Atoi(c.query(code)); err == nil {
		status = other
	}
	if s.active != "" && c.query("standbyok") == "true" || s.limited && c.query("perfstandbyok") == "true" {
		status = http.StatusOK
	}
	return answer{status: status, raw: map[string]any{
		"initialized": true, "sealed": s.sealed, "standby": s.active != "", "performance_standby": s.limited,
		"replication_performance_mode": "disabled", "replication_dr_mode": "disabled", "server_time_utc": s.now().Unix(), "version": "1.0.0-test",
	}}
}

func (s *Server) system(c *call) answer {
	writes := c.method == http.MethodPut || c.method == http.MethodPost
	if mount, ok := strings.CutPrefix(c.path, "sys/mounts/"); ok {
		switch mount = strings.Trim(mount, "/") + "/"; {
		case writes:
			if s.mounts[mount] != nil || s.transits[mount] != nil {
				return refuse(http.StatusBadRequest, "path is already in use at "+mount)
			}
			options, _ := c.body["options"].(map[string]any)
			switch kind := c.body["type"]; {
			case kind == "kv-v2" || kind == "kv" && options["version"] == "2":
				s.mounts[mount] = newStore()
			case kind == "kv-v1" || kind == "kv" && options["version"] != "2":
				s.mounts[mount] = &store{plain: map[string]map[string]any{}}
			case kind == "transit":
				s.transits[mount] = newTransit()
			default:
				return refuse(http.StatusBadRequest, "plugin not found in the catalog")
			}
		case c.method == http.MethodDelete:
			delete(s.mounts, mount)
			delete(s.transits, mount)
		default:
			return refuse(http.StatusMethodNotAllowed, "unsupported operation")
		}
		return answer{status: http.StatusNoContent}
	}
	if name, ok := cutAny(c.path, "sys/policies/acl/", "sys/policy/"); ok && (writes || c.method == http.MethodDelete) {
		delete(s.policies, name)
		if text, _ := c.body["policy"].(string); writes {
			s.policies[name] = parsePolicy(text)
		}
		return answer{status: http.StatusNoContent}
	}
	if c.path == "sys/seal" && writes {
		s.sealed = true
		return answer{status: http.StatusNoContent}
	}
	return refuse(http.StatusNotFound, "unsupported path")
}

func cutAny(text string, prefixes ...string) (string, bool) {
	for _, prefix := range prefixes {
		if rest, ok := strings.CutPrefix(text, prefix); ok {
			return rest, true
		}
	}
	return "", false
}
