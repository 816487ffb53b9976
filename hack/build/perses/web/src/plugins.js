// The plugins of Perses that the dashboards use, and the table of the viewer itself.
import * as prometheus from '@perses-dev/prometheus-plugin';
import * as stat from '@perses-dev/stat-chart-plugin';
import * as statusHistory from '@perses-dev/status-history-chart-plugin';
import * as timeSeries from '@perses-dev/timeseries-chart-plugin';
import * as timeSeriesTable from '@perses-dev/timeseries-table-plugin';
import { dynamicImportPluginLoader } from '@perses-dev/plugin-system';

import { PROMETHEUS, session } from './api.js';
import { orNoData } from './NoData.jsx';
import { ResourceTable } from './ResourceTable.jsx';

// The client of the plugin takes the answer to a query that failed for an answer without series.
function failing(call) {
  return async (...parameters) => {
    const answer = await call(...parameters);
    if (answer.rawResponse?.status === 401) session.dispatchEvent(new Event('ended'));
    if (answer.status === 'error') throw new Error(answer.error);
    return answer;
  };
}

const datasource = {
  ...prometheus.PrometheusDatasource,
  createClient(spec, options) {
    const client = prometheus.PrometheusDatasource.createClient(spec, options);
    for (const name of ['instantQuery', 'rangeQuery', 'labelNames', 'series']) client[name] = failing(client[name]);
    return client;
  },
};

const own = {
  kind: 'PluginModule',
  metadata: { name: 'maas', version: '1.0.0' },
  spec: { plugins: [{ kind: 'Panel', spec: { name: 'ResourceTable', display: { name: 'Resource table' } } }] },
};

const plugin = (resource, module) => ({ resource, importPlugin: () => Promise.resolve(module) });

export const pluginLoader = dynamicImportPluginLoader([
  plugin(prometheus.getPluginModule(), { ...prometheus, PrometheusDatasource: datasource }),
  // A number is the current value, so one sample is enough.
  plugin(stat.getPluginModule(), { ...stat, StatChart: { ...orNoData(stat.StatChart), queryOptions: { mode: 'instant' } } }),
  plugin(statusHistory.getPluginModule(), { ...statusHistory, StatusHistoryChart: orNoData(statusHistory.StatusHistoryChart) }),
  plugin(timeSeries.getPluginModule(), { ...timeSeries, TimeSeriesChart: orNoData(timeSeries.TimeSeriesChart) }),
  plugin(timeSeriesTable.getPluginModule(), timeSeriesTable),
  plugin(own, { ResourceTable: orNoData(ResourceTable) }),
]);

const resource = {
  kind: 'GlobalDatasource',
  metadata: { name: 'prometheus' },
  spec: {
    default: true,
    plugin: { kind: 'PrometheusDatasource', spec: { directUrl: PROMETHEUS } },
  },
};

// It decides the shortest window of a rate.
export function setScrapeInterval(interval) {
  resource.spec.plugin.spec.scrapeInterval = interval;
}

export const datasourceApi = {
  getDatasource: () => Promise.resolve(undefined),
  getGlobalDatasource: () => Promise.resolve(resource),
  listDatasources: () => Promise.resolve([]),
  listGlobalDatasources: () => Promise.resolve([resource]),
  buildProxyUrl: () => PROMETHEUS,
};
