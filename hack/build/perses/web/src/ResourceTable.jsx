// A table of current values: one row for each set of labels, columns with units and colors of their own, and links.
import { Link, Table, TableBody, TableCell, TableContainer, TableHead, TableRow, TableSortLabel } from '@mui/material';
import { formatValue } from '@perses-dev/core';
import { useAllVariableValues } from '@perses-dev/plugin-system';
import { useMemo, useState } from 'react';
import { Link as RouterLink, useSearchParams } from 'react-router-dom';

const KEPT = ['start', 'end', 'refresh', 'var-cluster'];

function rowsOf(spec, results) {
  const rows = new Map();
  results.forEach(({ data }, column) => {
    for (const series of data.series) {
      const labels = spec.labels.map(({ name }) => series.labels?.[name] ?? '');
      const key = JSON.stringify(labels);
      if (!rows.has(key)) rows.set(key, { key, labels, values: [] });
      rows.get(key).values[column] = series.values.at(-1)?.[1];
    }
  });
  return [...rows.values()];
}

function colorOf(value, thresholds) {
  if (!thresholds) return undefined;
  return thresholds.steps.findLast((step) => value >= step.value)?.color ?? thresholds.defaultColor;
}

function textOf(value, column) {
  if (value === undefined || value === null || Number.isNaN(value)) return '';
  return column.words?.[value] ?? formatValue(value, column.format);
}

function compare(a, b) {
  if (typeof a === 'string') return a.localeCompare(b, undefined, { numeric: true });
  return (a ?? -Infinity) - (b ?? -Infinity);
}

function ResourceTablePanel({ spec, queryResults, contentDimensions }) {
  const variables = useAllVariableValues();
  const [parameters] = useSearchParams();
  const [sorted, setSorted] = useState({ place: 0, descending: false });
  const columns = [...spec.labels, ...spec.columns];
  const rows = useMemo(() => {
    const cell = (row) => [...row.labels, ...spec.columns.map((_, place) => row.values[place])][sorted.place];
    const found = rowsOf(spec, queryResults).sort((a, b) => compare(cell(a), cell(b)));
    return sorted.descending ? found.reverse() : found;
  }, [spec, queryResults, sorted]);

  function target(link, row) {
    const query = new URLSearchParams(KEPT.filter((name) => parameters.has(name)).map((name) => [name, parameters.get(name)]));
    for (const [name, source] of Object.entries(link.variables)) {
      const place = spec.labels.findIndex(({ title }) => title === source.column);
      const value = source.column === undefined ? variables[source.variable]?.value : row.labels[place];
      if (value) query.set(`var-${name}`, [value].flat().join(','));
    }
    return `/d/${link.dashboard}?${query}`;
  }

  return (
    <TableContainer style={{ height: contentDimensions?.height }}>
      <Table size="small" stickyHeader>
        <TableHead>
          <TableRow>
            {columns.map(({ title }, place) => (
              <TableCell key={title} align={place < spec.labels.length ? 'left' : 'right'}>
                <TableSortLabel
                  active={sorted.place === place}
                  direction={sorted.place === place && sorted.descending ? 'desc' : 'asc'}
                  onClick={() => setSorted({ place, descending: sorted.place === place && !sorted.descending })}
                >
                  {title}
                </TableSortLabel>
              </TableCell>
            ))}
          </TableRow>
        </TableHead>
        <TableBody>
          {rows.map((row) => (
            <TableRow key={row.key} hover>
              {spec.labels.map((label, place) => (
                <TableCell key={label.name}>
                  {label.link ? (
                    <Link component={RouterLink} to={target(label.link, row)}>
                      {row.labels[place]}
                    </Link>
                  ) : (
                    row.labels[place]
                  )}
                </TableCell>
              ))}
              {spec.columns.map((column, place) => (
                <TableCell key={column.title} align="right" style={{ color: colorOf(row.values[place], column.thresholds) }}>
                  {textOf(row.values[place], column)}
                </TableCell>
              ))}
            </TableRow>
          ))}
        </TableBody>
      </Table>
    </TableContainer>
  );
}

export const ResourceTable = {
  PanelComponent: ResourceTablePanel,
  supportedQueryTypes: ['TimeSeriesQuery'],
  queryOptions: { mode: 'instant' },
  createInitialOptions: () => ({ labels: [], columns: [] }),
};
